"""A process that makes calls as it is told: one JSON command a line in, one result a line out.

A command names a kind (``grpc`` callers, ``urllib3`` posts of a ready body, the vendor's ``sdk``),
a target, how many callers make calls one after the other, and for how long. Callers whom the
service refuses for now wait as its RetryInfo says and call again, as they should.

All callers begin at once, and a crowd that does so waits in a queue of its own making for a few
calls. What ends before ``warm_s`` is not counted. Before its result the process says, in a line
each, when it begins to count and when it has counted, so that others can be measured meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import grpc
import urllib3
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from benchmarks import forms, images
from productsearch import v1

_CHANNELS_MAX: Final = 8


@dataclass(kw_only=True)
class Command:
    """What to do. ``rpc`` is add or search; ``size`` the image's, in bytes.

    Each caller waits ``pause_s`` after each call. Calls that end in the ``seconds`` after
    ``warm_s`` are counted.
    """

    kind: str
    target: str
    size: int
    callers: int
    seconds: float
    warm_s: float = 0.0
    pause_s: float = 0.0
    rpc: str = "add"
    bundle: str = ""
    bearer: str = ""


@dataclass(kw_only=True)
class Result:
    """What came of it: successful calls, refusals, failures, and the spread of waits.

    ``cpu_s`` is the caller's own; ``server_cpu_s`` that of the server, if it was watched.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    server_cpu_s: float = 0.0
    calls: int = 0
    refused: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    p50_s: float = 0.0
    p99_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Return successful calls a second."""
        return self.calls / self.seconds

    @property
    def cost_s(self) -> float:
        """Return the server's CPU seconds for one successful call."""
        return self.server_cpu_s / self.calls


class _Tally:
    """Counts what callers report. Thread-safe enough: appends and increments under the GIL."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._counts = False
        self._clock = threading.Thread(target=self._count)
        self.waits_s: list[float] = []
        self.refused = 0
        self.failed: dict[str, int] = {}
        self.seconds = 0.0
        self.cpu_s = 0.0

    def begin(self) -> float:
        """Start the clock; return when callers are to stop, as time.perf_counter has it."""
        self._clock.start()
        return time.perf_counter() + self._command.warm_s + self._command.seconds

    def end(self) -> None:
        """Wait for the clock."""
        self._clock.join()

    def succeed(self, wait_s: float) -> None:
        if self._counts:
            self.waits_s.append(wait_s)

    def refuse(self) -> None:
        self.refused += self._counts

    def fail(self, why: str) -> None:
        self.failed[why] = self.failed.get(why, 0) + 1

    def _count(self) -> None:
        time.sleep(self._command.warm_s)
        cpu_s, began_s = time.process_time(), time.perf_counter()
        self._counts = True
        print("counting", flush=True)
        time.sleep(self._command.seconds)
        self._counts = False
        print("counted", flush=True)
        self.seconds = time.perf_counter() - began_s
        self.cpu_s = time.process_time() - cpu_s


def carry_out(command: Command) -> Result:
    """Make the calls and return what came of them."""
    tally = _Tally(command)
    kinds = {"grpc": _grpc, "urllib3": _urllib3, "sdk": _sdk}
    kinds[command.kind](command, tally)
    tally.end()
    result = Result(
        seconds=tally.seconds,
        cpu_s=tally.cpu_s,
        calls=len(tally.waits_s),
        refused=tally.refused,
        failed=tally.failed,
    )
    if len(tally.waits_s) > 1:
        cuts = statistics.quantiles(tally.waits_s, n=100, method="inclusive")
        result.p50_s, result.p99_s = cuts[49], cuts[98]
    return result


def _grpc(command: Command, tally: _Tally) -> None:
    asyncio.run(_grpc_callers(command, tally))


async def _grpc_callers(command: Command, tally: _Tally) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(command.target, options=options)
        for _ in range(min(command.callers, _CHANNELS_MAX))
    ]
    source = v1.ImageSource(content=images.of_size(command.size, random.randrange(10**6)))
    end_s = tally.begin()
    await asyncio.gather(
        *(
            _grpc_caller(
                v1.ProductSearchStub(channels[n % len(channels)]), source, n, command, tally, end_s
            )
            for n in range(command.callers)
        )
    )
    for channel in channels:
        await channel.close()


async def _grpc_caller(
    stub: Any, source: v1.ImageSource, number: int, command: Command, tally: _Tally, end_s: float
) -> None:
    call: Any
    if command.rpc == "add":
        call = stub.AddImage
        image = v1.NewImage(image=source, brief=f"caller {number}")
        request: Any = v1.AddImageRequest(new_image=image)
    else:
        # Another page for each: identical searches would be answered by one call.
        call = stub.SearchImages
        request = v1.SearchImagesRequest(image=source, page_size=5 + number)
    metadata = [("authorization", f"Bearer {command.bearer}")] if command.bearer else None
    while (began_s := time.perf_counter()) < end_s:
        try:
            await call(request, timeout=forms.TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            await asyncio.sleep(_refused(error, tally))
        else:
            tally.succeed(time.perf_counter() - began_s)
            if command.pause_s:
                await asyncio.sleep(command.pause_s)


def _refused(error: Any, tally: _Tally) -> float:
    """Note a failure and return how long to wait before the next call."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            tally.refuse()
            # As the client library's retry policies do: nobody comes back all at once.
            return retry.retry_delay.ToNanoseconds() / 1e9 * random.uniform(0.8, 1.2)
    tally.fail(error.code().name)
    return 0.1


def _urllib3(command: Command, tally: _Tally) -> None:
    trusted: dict[str, Any] = {"ca_certs": command.bundle} if command.bundle else {}
    pool = urllib3.connection_from_url(command.target, maxsize=command.callers, **trusted)
    _threads(command, tally, poster(pool, command.size, command.rpc))
    pool.close()


def poster(
    pool: urllib3.HTTPConnectionPool, size_bytes: int, rpc: str = "add"
) -> Callable[[], None]:
    """Return what posts the ready form of an image, and raises unless it is answered well."""
    body, target = forms.form_of(size_bytes), forms.target(rpc)

    def post() -> None:
        answer = pool.urlopen("POST", target, body=body, headers=forms.HEADERS, retries=False)
        forms.check(answer.status, answer.data)

    return post


def _sdk(command: Command, tally: _Tally) -> None:
    # Its sources hold escapes that Python warns about, and it verifies no certificate.
    warnings.simplefilter("ignore")
    from aip import AipImageSearch

    client = AipImageSearch("1", "key", "secret")
    client._AipBase__accessTokenUrl = f"{command.target}/oauth/2.0/token"
    for method in ("Add", "Search"):
        setattr(
            client,
            f"_AipImageSearch__product{method}Url",
            f"{command.target}{forms.PATH}{method.lower()}",
        )
    image = images.of_size(command.size)

    def call() -> None:
        if command.rpc == "add":
            answer = client.productAdd(image, "a brief")
        else:
            answer = client.productSearch(image)
        if "error_code" in answer or "log_id" not in answer:
            raise AssertionError(str(answer))

    call()  # its token is fetched before the clock is read
    _threads(command, tally, call)
    client.s.close()


def _threads(command: Command, tally: _Tally, call: Callable[[], None]) -> None:
    end_s = tally.begin()

    def caller() -> None:
        while (began_s := time.perf_counter()) < end_s:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - counted, and told at the end
                tally.fail(type(error).__name__)
            else:
                tally.succeed(time.perf_counter() - began_s)
                if command.pause_s:
                    time.sleep(command.pause_s)

    threads = [threading.Thread(target=caller) for _ in range(command.callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _main() -> None:
    for line in sys.stdin:
        print(json.dumps(asdict(carry_out(Command(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    _main()
