"""What goes out in place of a caller's request, and what the guard answers by itself."""
