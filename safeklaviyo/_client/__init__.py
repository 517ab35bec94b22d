"""The two clients: arguments and guarantees, nothing else."""
