"""The worker: drains the outbox's lanes until it is told to stop, and regularly repairs interrupted changes.

- `agenda` says which lane a thread drains next, and when a lane that failed is tried again.
- `working` has the threads, and decides when the worker is well, and when it has stopped.
- `starting` warns at the start of what would keep the rows where they are.
- `chores` has the regular work: recovering, rechecking, counting, and comparing the key with the account.
- `waking` listens for rows that were committed.
- `systemd` and `health` tell other programs how the worker is.
"""
