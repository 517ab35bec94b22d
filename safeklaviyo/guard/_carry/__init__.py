"""The guard's flows: they settle with Klaviyo who a caller's request is about, before the request is sent."""
