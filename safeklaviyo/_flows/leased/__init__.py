"""What is written under a lease: intents, first contact, changes, merges, erasures and repairs."""
