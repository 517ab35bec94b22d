"""Where requests are caught: the transports of HTTP libraries."""
