"""The identity map in PostgreSQL, but for its two public classes: what is kept there, asked of it, and goes wrong.

`schema` makes the tables and the functions in which each change is one transaction, `queries` says what is asked and
reads the answers, `connections` and `async_connections` ask, `failures` says what a failure means.
"""
