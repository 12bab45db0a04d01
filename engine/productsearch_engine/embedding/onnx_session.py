"""Opens ONNX models with onnxruntime, so that equal images give equal numbers everywhere.

Knows threads and files. Does not know what a model computes.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from productsearch_engine.embedding.interface import EmbeddingUnusableError


def open_session(model: Path) -> onnxruntime.InferenceSession:
    """Return a session with one thread: calls run side by side already.

    Raises EmbeddingUnusableError if the file is missing or is no model that can be run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it takes 11 MB of each process, and saves no time
    options.log_severity_level = 3
    if not model.is_file():
        raise EmbeddingUnusableError(f"embedding: there is no file {model}")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # onnxruntime's errors have no common type.
    except Exception as error:  # noqa: BLE001
        first = (str(error).splitlines() or [""])[0]
        raise EmbeddingUnusableError(f"embedding: cannot run {model}: {first}") from None
