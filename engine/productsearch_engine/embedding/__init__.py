"""Turns the pixels of an image into a vector, behind one interface.

``interface`` has the interface, ``load`` finds an implementation by its name, and ``classic``
is the implementation: colour, texture and shape, without weights.

A library remembers the ``name`` of the embedding that it was built with. A name therefore
stands for one exact mapping: an embedding whose numbers change gets a new name.

Knows pixels and vectors. Does not know files, HTTP or SQL.
"""
