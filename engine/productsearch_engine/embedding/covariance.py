"""Summarises the features of many positions of an image in one vector.

Knows feature vectors and weights. Does not know what the features measure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def log_covariance(features: Floats, weight: Floats, noise: float) -> Floats:
    """Return the logarithm of the weighted covariance as a vector of d(d+1)/2 numbers.

    features: shape (positions, d); weight: shape (positions,), sum above 0; noise: variance
    added to each feature, which bounds the logarithm where an image has no structure.
    The logarithm flattens the curved space of covariances, so that cosine and
    Euclidean comparison make sense (region covariance: Tuzel et al., ECCV 2006;
    log-Euclidean metric: Arsigny et al., 2006).
    """
    share = (weight / weight.sum())[:, None]
    centred = (features - (features * share).sum(0)) * np.sqrt(share)
    covariance = (centred.T @ centred).astype(np.float64)
    scale, axes = np.linalg.eigh(covariance + noise * np.eye(len(covariance)))
    logarithm = (axes * np.log(scale)) @ axes.T
    rows, columns = np.triu_indices(len(logarithm))
    # A number off the diagonal stands for two entries of the matrix, hence the root of two.
    twice = np.where(rows == columns, 1.0, np.sqrt(2))
    return np.asarray(logarithm[rows, columns] * twice, np.float32)
