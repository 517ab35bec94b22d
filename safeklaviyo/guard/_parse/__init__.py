"""Reading a caller's request: which operation it is, and which people it names."""
