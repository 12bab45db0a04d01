"""Key pairs swapped under load, as Kubernetes swaps a secret volume: nobody notices."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs

import grpc

from productsearch import v1
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, Fault, Received
from tests.pictures import jpeg
from tests.soak.measures import Measure, report

FULL = 1000
_POLL_S = 0.01


class _Secret:
    """A directory that shows one generation of a key pair at a time."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder
        self._swap(0)
        for name in ("api_key", "secret_key"):
            (folder / name).symlink_to(Path("..data") / name)

    def _swap(self, number: int) -> None:
        generation = self.directory / f"..{number}"
        generation.mkdir()
        (generation / "api_key").write_text(f"api-key-{number}")
        (generation / "secret_key").write_text(f"secret-key-{number}")
        (self.directory / "..next").symlink_to(generation.name)
        (self.directory / "..next").rename(self.directory / "..data")

    def show(self, number: int) -> None:
        """Swap, and take the generation before the last one away."""
        self._swap(number)
        old = self.directory / f"..{number - 2}"
        if old.exists():
            for file in old.iterdir():
                file.unlink()
            old.rmdir()

    def shows(self, number: int) -> bool:
        """Whether whoever reads the key now reads that generation's."""
        return (self.directory / "api_key").read_text() == f"api-key-{number}"


def run(swaps: int) -> list[Measure]:
    """Swap so many times while searches go on; count pairs that were mixed and calls failed."""
    pairs: list[tuple[str, str]] = []

    def issue(request: Received) -> object:
        form = parse_qs(request.body.decode())
        key, secret = form["client_id"][0], form["client_secret"][0]
        pairs.append((key, secret))
        if key.rpartition("-")[2] != secret.rpartition("-")[2]:
            return Fault(status=401, body=b'{"error": "invalid_client"}')
        return {"access_token": f"24.{key}.{len(pairs)}", "expires_in": 2592000}

    failed = answered = shown = 0
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as folder, FakeUpstream() as upstream:
        secret = _Secret(Path(folder))
        upstream.always("token", issue)
        library = {
            "base_url": upstream.url,
            "credentials_dir": folder,
            "credentials_poll_s": _POLL_S,
            "quota_qps": 0,
        }
        server = Server(
            Settings(listen="127.0.0.1:0", libraries={"default": library}, drain_delay_s=0)  # type: ignore[dict-item]
        )
        server.start()

        def load(first: int) -> None:
            nonlocal failed, answered
            with v1.connect(f"127.0.0.1:{server.port}") as channel:
                stub, number = v1.ProductSearchStub(channel), first
                while not stop.is_set():
                    number += 2
                    image = v1.ImageSource(content=jpeg(0) + number.to_bytes(8, "big"))
                    try:
                        stub.SearchImages(v1.SearchImagesRequest(image=image))
                        answered += 1
                    except grpc.RpcError:
                        failed += 1

        callers = [threading.Thread(target=load, args=(first,)) for first in (0, 1)]
        for caller in callers:
            caller.start()
        for number in range(1, swaps + 1):
            time.sleep(_POLL_S)
            secret.show(number)
            shown += secret.shows(number)
        wanted = (f"api-key-{swaps}", f"secret-key-{swaps}")
        end_s = time.monotonic() + 30
        while wanted not in pairs and time.monotonic() < end_s:
            time.sleep(_POLL_S)
        stop.set()
        for caller in callers:
            caller.join()
        server.stop(threading.Event())
    mixed = sum(key.rpartition("-")[2] != one.rpartition("-")[2] for key, one in pairs)
    return [
        _bar("rotation: swaps that were to be read", shown, "==", swaps),
        _bar("rotation: pairs that got a token", len(pairs), ">=", swaps / 20),
        _bar("rotation: last pair in use", float(wanted in pairs), "==", 1),
        _bar("rotation: calls answered meanwhile", answered, ">=", swaps / 10),
        _bar("rotation: mixed pairs", mixed, "==", 0),
        _bar("rotation: failed calls", failed, "==", 0),
    ]


def _bar(name: str, value: float, relation: str, bar: float) -> Measure:
    return Measure(name=name, value=value, relation=relation, bar=bar)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(report(run(FULL)))
