"""What the rules say about a caller's request, given the map."""
