"""Builds the engine from its settings, listens, and stops.

It is above ``api`` because it is the only place that knows every part: it opens the
database, loads the embedding and the signing key, and gives them to the API.

Knows sockets, signals and the order of starting and stopping. Does not know the contract.
"""
