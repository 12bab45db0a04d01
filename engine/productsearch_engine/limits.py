"""Every number that bounds a call.

The first group is the contract's; the others are the engine's own.
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
"""Images that a new library has room for, and the default step of ``library grow``."""

BODY_BYTES_MAX = ENCODED_BYTES_MAX + (64 << 10)
"""Longest request body: one image, the other fields, and the heads of multipart parts."""

TOKEN_BODY_BYTES_MAX = 16 << 10
FIELDS_MAX = 64
BODY_READ_S = 30.0
BODIES_BYTES_MAX = 64 << 20
"""Bodies in memory at the same time; further ones wait unread. Decoded they take three times
as much."""

CALLS_MAX = 512
"""Calls in flight; further ones are refused with code 4."""

EMBEDDED_SIDE_PX_MIN = 256
"""Least length of the shortest side of the pixels that an embedding is given."""

KEPT_SIDE_PX = 512
"""Longest side of the small copy of an image that a library keeps."""

LIBRARY_REMEMBERED_S = 5.0
"""How long an engine goes by what it knows of a library: its settings, and what a score means."""

REEMBEDDING_KEPT_S = 86_400
"""How long a library's embedding before can be taken back; then its vectors are dropped."""

JPEG_SCANS_MAX = 100
"""Real progressive files have about ten scans; a file with thousands takes minutes to decode."""

LARGE_PX = 4 << 20
LARGE_DECODES_MAX = 2
"""Decodes of PNG and BMP above ``LARGE_PX`` at the same time. These formats cannot be scaled
while they are decoded: 16 million pixels, the most, take about 130 MB."""

DOWNLOAD_BYTES_MAX = 4 << 20
DOWNLOAD_S = 10.0
DOWNLOAD_REDIRECTS_MAX = 3
DOWNLOADS_MAX = 8
"""Downloads at the same time. They have threads of their own, so slow hosts hold no worker."""

SIGN_ATTEMPTS_MAX = 16
DATABASE_WAIT_S = 5.0
STATEMENT_S = 30
HEALTH_WAIT_S = 2.0
KEEP_ALIVE_S = 120
"""Longer than clients keep idle connections, so that the client closes first."""

STOP_GRACE_S = 30
EF_SEARCH = 400
"""Candidates that an index scan begins with, the same for every page: see store.statements."""
