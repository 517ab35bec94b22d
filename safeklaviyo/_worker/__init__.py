"""The worker: drains the outbox's lanes until it is told to stop, and does what has to be done from time to time.

- `agenda` says which lane is drained next, by which thread, and when one that failed is tried again.
- `working` has the threads, and decides when the worker is well, and when it has stopped.
- `chores` are what is done from time to time: recovering, rechecking, counting.
- `waking` listens for rows that were committed.
- `systemd` and `health` tell others how the worker is.
"""
