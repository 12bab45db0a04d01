"""Weighs the middle of an image most: there the product mostly is.

Knows numbers of rows and columns. Does not know what is weighed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def window(rows: int, columns: int, spread: float) -> NDArray[np.float64]:
    """Return a Gaussian around the middle, shape (rows, columns), greatest 1.

    spread: its standard deviation, in halves of the sides.
    """
    y, x = (((np.arange(n) + 0.5) / n * 2 - 1) / spread for n in (rows, columns))
    return np.exp(-np.add.outer(y**2, x**2) / 2)
