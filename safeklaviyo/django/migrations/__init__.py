"""The tables of the outbox, and of the identity map where it is in the same database."""
