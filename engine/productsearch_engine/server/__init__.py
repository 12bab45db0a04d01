"""Builds the engine from its settings, listens, and stops.

``compose`` opens the database, loads the embedding and the signing key, and gives them to the
API; ``listener`` runs the application. ``operations`` has ``/healthz`` and ``/metrics``, which
are no part of the contract. The folder is above ``api`` because it joins all parts.

Knows sockets, signals and the order of starting and stopping. Does not know the contract.
"""
