"""The caller's own request, read: which operation it is, and whom it names."""
