"""How a request travels: one file for each kind of transport, behind one contract.

No other room knows an HTTP library.
"""
