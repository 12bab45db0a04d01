"""The only SQL of images and libraries.

``libraries`` holds apps and libraries, ``images`` the images of a library with the SQL texts
from ``statements``. ``signs`` is here because the store picks an image's sign: when another
image has it already, the store derives the next one.

Knows tables and rows, and runs on the pool that it is given. Does not know HTTP, forms, how
the database is started, or how an image becomes a vector.
"""
