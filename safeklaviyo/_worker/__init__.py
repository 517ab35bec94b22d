"""The worker: drains the outbox's lanes until it is told to stop, and regularly repairs interrupted changes.

- `agenda` says which lane a thread drains next, and when a lane that failed is tried again.
- `working` has the threads, and decides when the worker is well, and when it has stopped.
- `chores` has the regular work: recovering, rechecking, counting.
- `waking` listens for rows that were committed.
- `systemd` and `health` tell other programs how the worker is.
"""
