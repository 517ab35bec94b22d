"""How a request travels: one file for each kind of transport. No other room knows an HTTP library."""
