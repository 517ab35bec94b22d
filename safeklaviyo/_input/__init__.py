"""What callers give, checked before anything is sent."""
