"""The decision log: what it holds, how it is written, and its summary."""
