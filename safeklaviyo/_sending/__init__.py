"""May a request be repeated, when, and how fast."""
