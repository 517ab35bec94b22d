"""The identity map: the contract in `base`, and the stores that keep it."""
