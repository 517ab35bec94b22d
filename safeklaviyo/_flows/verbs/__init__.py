"""One file for each public verb, from its arguments to its result."""
