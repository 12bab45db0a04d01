"""Key pairs that are swapped as Kubernetes swaps a secret volume, under reads and under load."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from productsearch_service.errors import ServiceError
from productsearch_service.upstream.auth.credentials import FileCredentials
from tests.fakes.upstream import Received
from tests.soak.measures import Measure, at_least, equal
from tests.soak.token_facade import failed_rpcs, token_facade
from tests.soak.token_rivals import LIFETIME_S, PATIENCE_S, TokenEndpoint
from tests.soak.token_stage import Size

_READERS: Final = 4
_LOADS, _CALLS = 4, 4
"""Callers, and how many calls each has under way."""


def secret_swaps(size: Size) -> list[Measure]:
    """The secret volume is swapped as Kubernetes does it, old directory removed, under reads."""
    with tempfile.TemporaryDirectory() as directory:
        volume = SecretVolume(Path(directory))
        read = _read_while(FileCredentials(volume.path), lambda: _swap(volume, size.swaps))
    print(f"credential reads under {size.swaps} swaps: {read['whole']}", flush=True)
    return [
        at_least(f"whole pairs read over {size.swaps} swaps", read["whole"], size.swaps / 10),
        equal(f"mixed pairs over {size.swaps} swaps", read["mixed"], 0),
        equal(f"failed reads over {size.swaps} swaps", read["failed"], 0),
        equal("readers that read to the end", read["to the end"], _READERS),
    ]


def rotations(size: Size) -> list[Measure]:
    """A facade serves while its secret volume is swapped; each new pair is brought into use."""
    pairs = _Pairs()
    over = threading.Event()
    failures: list[int] = []
    ended = 0
    with tempfile.TemporaryDirectory() as directory, TokenEndpoint() as endpoint:
        volume = SecretVolume(Path(directory))
        endpoint.always("token", pairs.answer)
        files = {"credentials_dir": directory, "credentials_poll_s": 0.005}
        with token_facade(endpoint, key_pair=files) as stub:

            def load() -> None:
                nonlocal ended
                while not over.is_set():
                    failures.append(failed_rpcs(stub, _CALLS))
                ended += 1

            loads = [threading.Thread(target=load) for _ in range(_LOADS)]
            for thread in loads:
                thread.start()
            used = 0
            for _ in range(size.swaps):
                volume.swap()
                used += pairs.wait_for(volume.number)
            over.set()
            for thread in loads:
                thread.join()
    print(f"RPCs under {size.swaps} rotations: {_CALLS * len(failures)}", flush=True)
    return [
        at_least("rotations: RPCs", _CALLS * len(failures), size.swaps / 10),
        equal("rotations: callers that called to the end", ended, _LOADS),
        equal("rotations: pairs brought into use", used, size.swaps),
        equal("rotations: mixed pairs at the token endpoint", pairs.mixed, 0),
        equal("rotations: failed RPCs", sum(failures), 0),
    ]


class SecretVolume:
    """A Kubernetes secret volume: files are links into ``..data``, which is swapped as one.

    As the kubelet's AtomicWriter: write a new directory, point a new link at it, rename that
    over ``..data``, remove the old directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self._current = self._write()
        (path / "..data").symlink_to(self._current.name)
        for name in ("api_key", "secret_key"):
            (path / name).symlink_to(Path("..data") / name)

    def swap(self) -> None:
        """Replace the pair by the next one."""
        old, self._current = self._current, self._write()
        following = self.path / "..data_tmp"
        following.symlink_to(self._current.name)
        following.replace(self.path / "..data")
        shutil.rmtree(old)

    def _write(self) -> Path:
        self.number += 1
        directory = self.path / f"..{self.number}"
        directory.mkdir()
        (directory / "api_key").write_text(f"key-{self.number}\n")
        (directory / "secret_key").write_text(f"secret-{self.number}\n")
        return directory


class _Pairs:
    """Issues a token for each key pair, and notes which pairs came and whether they were mixed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seen: set[str] = set()
        self.mixed = 0

    def answer(self, request: Received) -> dict[str, Any]:
        form = parse_qs(request.body.decode())
        key, secret = (form[name][0].split("-")[1] for name in ("client_id", "client_secret"))
        with self._changed:
            self.mixed += key != secret
            self._seen.add(key)
            number = len(self._seen)
            self._changed.notify_all()
        return {"access_token": f"24.of-pair-{key}-{number}", "expires_in": LIFETIME_S}

    def wait_for(self, number: int) -> bool:
        """Wait until that pair came and return whether it did."""
        with self._changed:
            return self._changed.wait_for(lambda: str(number) in self._seen, PATIENCE_S)


def _read_while(credentials: FileCredentials, happens: Callable[[], None]) -> Counter[str]:
    """Read in four threads as long as something happens; count whole, mixed and failed reads."""
    over = threading.Event()
    counts: list[Counter[str]] = []

    def read() -> None:
        seen: Counter[str] = Counter()
        while not over.is_set():
            try:
                pair = credentials.read()
            except ServiceError:
                seen["failed"] += 1
            else:
                whole = pair.api_key.split("-")[1] == pair.secret_key.split("-")[1]
                seen["whole" if whole else "mixed"] += 1
        seen["to the end"] += 1
        counts.append(seen)

    readers = [threading.Thread(target=read) for _ in range(_READERS)]
    for reader in readers:
        reader.start()
    happens()
    over.set()
    for reader in readers:
        reader.join()
    return sum(counts, Counter())


def _swap(volume: SecretVolume, times: int) -> None:
    for _ in range(times):
        volume.swap()
