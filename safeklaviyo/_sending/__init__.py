"""When a request is sent, whether it is repeated, and how fast."""
