"""A migrated PostgreSQL and connections to it.

``postgres`` runs the embedded PostgreSQL with ``server_files``, ``programs``, ``processes`` and
``disk``; ``migrate`` brings a schema up to date; ``pool`` opens connections to the embedded or to
any other PostgreSQL.
``watch`` knows whether it answers, and ``bounded`` ends each wait for it.
``other`` tells a second database's failures from those of the engine's own.

Knows processes, files and connections. Does not know the SQL of images and libraries: that
is in ``store``, which is given a pool.
"""
