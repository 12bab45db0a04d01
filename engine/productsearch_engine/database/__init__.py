"""A migrated PostgreSQL and connections to it.

``postgres`` runs the embedded PostgreSQL and ``programs`` its command-line programs,
``migrate`` brings a schema up to date, and ``pool`` opens connections to the embedded or to
any other PostgreSQL.

Knows processes, files and connections. Does not know the SQL of images and libraries: that
is in ``store``, which is given a pool.
"""
