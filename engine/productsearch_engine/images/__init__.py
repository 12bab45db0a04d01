"""From the bytes of an image, or the URL they are at, to pixels for the embedding.

``image_file`` checks an image's header and decodes it. ``download`` reads an image from a
URL: it is here because a URL is only another way for image bytes to arrive, bounded like
them and followed by the same check.

Knows image formats and, in ``download``, HTTP as a client. Does not know forms, base64,
error codes, libraries or what becomes of the pixels.
"""
