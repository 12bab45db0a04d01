"""Keeps numeric libraries to one thread: they read these variables when they are first imported.

Otherwise each starts a thread for every core, for products of matrices that take a millisecond, and
these wait for each other while turning.
"""

from __future__ import annotations

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}
