"""Where the guard catches requests: in the transports of HTTP libraries."""
