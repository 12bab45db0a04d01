"""Every number that bounds a call, once.

The first group is the contract's (section 1); the others are the engine's own.
"""

ENCODED_BYTES_MAX = 4 << 20
"""Longest ``image`` value, after base64 and urlencoding."""

SIDE_PX_MIN = 300
SIDE_PX_MAX = 4096
BRIEF_BYTES_MAX = 256
CLASS_ID_MIN = 1
CLASS_ID_MAX = 65535
URL_BYTES_MAX = 1024
CONT_SIGNS_MAX = 100
WINDOW = 1000
"""A search never reads past this rank."""

RESULTS_DEFAULT = 300
TOKEN_LIFETIME_S = 2592000
CAPACITY_DEFAULT = 500_000
"""Pictures a new library has room for, and by how many one growth extends it."""

BODY_BYTES_MAX = ENCODED_BYTES_MAX + (64 << 10)
"""A body: one picture and slack for the other fields and multipart's heads."""

TOKEN_BODY_BYTES_MAX = 16 << 10
FIELDS_MAX = 64
BODY_READ_S = 30.0
BODIES_BYTES_MAX = 64 << 20
"""Bodies admitted at the same time (decoded they take thrice that); others wait unread."""

CALLS_MAX = 512
"""Calls in flight; further ones are told to back off (code 4)."""

EMBEDDED_SIDE_PX_MIN = 256
"""Shortest side of the pixels that an embedding is given, at least."""

JPEG_SCANS_MAX = 100
"""Real progressive files have about ten; a file of thousands costs minutes to decode."""

LARGE_PX = 4 << 20
LARGE_DECODES_MAX = 2
"""PNG and BMP do not scale while they decode: larger ones (16 million pixels at most, about
130 MB of memory) take turns."""

DOWNLOAD_BYTES_MAX = 4 << 20
DOWNLOAD_S = 10.0
DOWNLOAD_REDIRECTS_MAX = 3
DOWNLOADS_MAX = 8
"""Downloads at the same time: slow hosts hold these threads, never the workers."""

SIGN_ATTEMPTS_MAX = 16
DATABASE_WAIT_S = 5.0
STATEMENT_S = 30
HEALTH_WAIT_S = 2.0
KEEP_ALIVE_S = 120
"""Longer than callers keep idle connections, so that the caller closes first."""

STOP_GRACE_S = 30
EF_SEARCH = 400
"""Candidates an index scan begins with, the same for every page: see store.images."""
