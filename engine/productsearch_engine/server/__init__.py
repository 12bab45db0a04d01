"""Builds the engine from its settings, listens, and stops.

``compose`` opens the database, loads the signing key, starts the workers, and gives them to the
API. ``listener`` accepts connections and ``connections`` bounds each of them. ``operations`` has
``/healthz`` and ``/metrics``, which are no part of the contract. The folder is above ``api``
because it joins all parts.

Knows sockets, signals and the order of starting and stopping. Does not know the contract.
"""
