"""The facade is killed at random points, before an upstream that keeps a journal."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from demo.facade import Facade
from productsearch import v1
from tests.fakes.cutting import CuttingUpstream, sign_of
from tests.pictures import numbered_jpeg
from tests.ports import free_port
from tests.soak.crash_callers import RECONNECT_SOON, Acknowledged, add_and_keep
from tests.soak.measures import Measure

_CALLERS: Final = 6
_KEPT: Final = v1.AddOutcome.ADD_OUTCOME_KEPT


def kill_the_facade(adds: int, kills: int, chance: random.Random) -> list[Measure]:
    """Kill the facade process while callers add numbered images; start it on the same port."""
    points = sorted(chance.sample(range(1, adds - 2 * _CALLERS), kills))
    numbers = iter(range(adds))
    told, turn = Acknowledged(), threading.Lock()
    with tempfile.TemporaryDirectory() as data, CuttingUpstream() as upstream:
        listen = f"127.0.0.1:{free_port()}"
        pair = {"default": ("the-api-key", "the-secret-key")}
        with Facade(Path(data), upstream.url, pair, listen=listen) as facade:

            def call_on() -> None:
                with v1.connect(listen, options=RECONNECT_SOON) as channel:
                    stub = v1.ProductSearchStub(channel)
                    while True:
                        with turn:
                            number = next(numbers, None)
                        if number is None:
                            return
                        image, brief = numbered_jpeg(number), str(number)
                        told.note(number, told.until(lambda: add_and_keep(stub, image, brief)))  # noqa: B023 - called at once

            with ThreadPoolExecutor(_CALLERS) as pool:
                callers = [pool.submit(call_on) for _ in range(_CALLERS)]
                killed = sum(_kill_facade(facade, told, point, chance) for point in points)
                stuck = sum(caller.exception() is not None for caller in callers)
        return _facade_measures(told, upstream, adds, killed, kills, stuck)


def _kill_facade(facade: Facade, told: Acknowledged, point: int, chance: random.Random) -> bool:
    if not told.wait_for(point):
        return False
    time.sleep(chance.uniform(0, 0.02))
    facade.kill()
    facade.start()
    return True


def _facade_measures(
    told: Acknowledged,
    upstream: CuttingUpstream,
    adds: int,
    killed: int,
    kills: int,
    stuck: int,
) -> list[Measure]:
    stored = Counter(sign for e in upstream.journal if e.method == "add" for sign in e.changed)
    lost = [
        number
        for number, sign in told.signs.items()
        if sign != sign_of(numbered_jpeg(number)) or upstream.stored.get(sign) != str(number)
    ]
    print(f"facade kills: calls that failed {dict(told.refused)}")
    return [
        Measure(name="adds acknowledged", value=len(told.signs), relation="==", bar=adds),
        Measure(name="kills of the facade", value=killed, relation=">=", bar=kills),
        Measure(name="acknowledged adds lost", value=len(lost), relation="==", bar=0),
        Measure(name="stored twice", value=_extra(stored), relation="==", bar=0),
        Measure(
            name="stored without an acknowledgement",
            value=len(stored.keys() - set(told.signs.values())),
            relation="==",
            bar=0,
        ),
        # Carried out, the facade killed before it could say so: else no kill was hard.
        Measure(
            name="acknowledgements that a kill swallowed",
            value=told.outcomes[_KEPT],
            relation=">=",
            bar=1,
        ),
        Measure(name="callers without an answer", value=stuck, relation="==", bar=0),
    ]


def _extra(stored: Counter[str]) -> int:
    return sum(stored.values()) - len(stored)
