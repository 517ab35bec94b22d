"""The outbox: calls that are committed with the shop's own rows, and carried out afterwards."""
