"""Klaviyo's words: requests and answers in both dialects, without a host, a key or an HTTP library."""
