"""What has to be settled with Klaviyo before a caller's request can go: flows."""
