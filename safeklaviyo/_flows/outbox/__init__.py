"""The outbox: what is written into it, and how it is carried out."""
