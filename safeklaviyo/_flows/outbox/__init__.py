"""The outbox: how calls are written into it, and how its rows are carried out."""
