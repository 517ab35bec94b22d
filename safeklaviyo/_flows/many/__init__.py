"""Calls about many people: one file a verb, and what they share."""
