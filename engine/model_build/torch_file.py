"""Reads the tensors of a file that torch saved, without torch and without running its pickle.

Knows the format that torch wrote before version 1.6: five pickles (magic number, protocol,
system, object, keys of the storages), then the numbers of each storage. Does not know networks.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.generic]]

_MAGIC = 0x1950A86A20F9469CFC6C
_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class TorchFileError(Exception):
    """The file is not the expected one, or has something that is not a tensor."""


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype[np.generic]
    length: int


class _View(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read(path: Path, sha256: str) -> Tensors:
    """Return the tensors of a file by their names. Raises TorchFileError, OSError.

    sha256: what the file must have as digest; the file is not parsed otherwise.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise TorchFileError(f"{path.name}: SHA-256 is not {sha256}")
    file = io.BytesIO(content)
    if _Unpickler(file).load() != _MAGIC:
        raise TorchFileError(f"{path.name}: not a file that torch saved before 1.6")
    for _ in ("protocol", "system"):
        _Unpickler(file).load()
    unpickler = _Unpickler(file)
    views: dict[str, _View] = unpickler.load()
    keys: list[str] = _Unpickler(file).load()
    numbers = {key: _numbers(file, unpickler.storages[key]) for key in keys}
    return {name: _tensor(numbers[view.storage.key], view) for name, view in views.items()}


class _Unpickler(pickle.Unpickler):
    """Makes dictionaries, tuples, texts, numbers and tensors; refuses every other class."""

    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise TorchFileError(f"the file wants {module}.{name}")

    def persistent_load(self, pid: tuple[str, np.dtype[np.generic], str, str, int, None]) -> object:
        _, dtype, key, _, length, _ = pid
        return self.storages.setdefault(key, _Storage(key, dtype, length))


def _rebuild(
    storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> _View:
    return _View(storage, offset, size, stride)


def _numbers(file: BinaryIO, storage: _Storage) -> NDArray[np.generic]:
    length = int.from_bytes(file.read(8), "little")
    content = file.read(length * storage.dtype.itemsize)
    if length != storage.length or len(content) != length * storage.dtype.itemsize:
        raise TorchFileError("a storage is not as long as the file says")
    return np.frombuffer(content, storage.dtype)


def _tensor(numbers: NDArray[np.generic], view: _View) -> NDArray[np.generic]:
    places = np.full(view.size, view.offset)
    for axis, (length, stride) in enumerate(zip(view.size, view.stride, strict=True)):
        steps = np.arange(length) * stride
        places += steps.reshape([-1 if each == axis else 1 for each in range(len(view.size))])
    return numbers[places]
