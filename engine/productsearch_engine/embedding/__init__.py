"""Turns the pixels of an image into a vector, behind one interface.

``interface`` has the interface, and ``load`` finds an implementation by its name: ``compact`` for
new libraries, ``classic`` for old ones, ``onnx`` for models of the operator's.

A library remembers the ``name`` of the embedding that it was built with. A name therefore
stands for one exact mapping: an embedding whose numbers change gets a new name.

Knows pixels and vectors. Does not know files, HTTP or SQL.
"""
