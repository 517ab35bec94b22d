"""What carries effects out: the shells, what a client's arguments mean, and where requests go."""
