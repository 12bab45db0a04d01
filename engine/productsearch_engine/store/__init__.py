"""The only SQL of the engine: ``libraries`` (apps, libraries) and ``images`` (pictures).

Knows tables and rows. Does not know HTTP, forms, or how pictures become vectors.
"""
