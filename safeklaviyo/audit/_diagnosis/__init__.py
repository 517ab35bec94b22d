"""Why a customer has two profiles: logs of calls, replayed into the simulator. Start at `diagnoses`."""
