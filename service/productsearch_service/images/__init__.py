"""What an image is, and how it becomes the value of a form field.

``form_encoding`` takes the bytes that a caller sent and returns what is sent on · ``inspect`` reads
a header and checks the upstream's limits · ``fit`` scales and transcodes.
Knows no requests, no gRPC and no upstream.
"""
