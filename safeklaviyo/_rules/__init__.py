"""Pure decisions: what a claim means, what evidence permits, and what forbids a merge."""
