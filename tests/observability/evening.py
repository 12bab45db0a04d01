"""An incident evening: eleven acts against real servers, and a real Prometheus that must name each.

Facade, engine and PostgreSQL are real; a proxy between facade and engine misbehaves on demand. The
alerts are the product's own with their durations divided by 60, so that minutes are seconds. Each
act ends with a line: which causes fired, which should have, and whom the facade's lines blame.

``python -m tests.observability.evening [--stay] [ACT ...]``; needs Debian's prometheus.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from demo.facade import Facade
from demo.processes import Engine
from deploy.grafana.dashboard import dashboard
from tests.engine.databases import connected
from tests.observability.evening_callers import Load, tokens, write_policy
from tests.observability.evening_prometheus import Prometheus
from tests.observability.evening_proxy import Proxy

_VARIABLES = {"$__rate_interval": "1m", "$instance": ".*", "$library": ".*"}
_SETTLE_S = 90
_ACT_S = 30
_QUOTA_QPS = 6


@dataclass
class Stage:
    """Everything that runs."""

    folder: Path
    engine: Engine
    proxy: Proxy
    facade: Facade
    prometheus: Prometheus
    load: Load

    def start_facade(self) -> None:
        """Start the facade that was stopped; its ports are others than before."""
        self.facade.start()
        self.prometheus.targets(facade=[self.facade.metrics])

    def lines(self) -> list[dict[str, object]]:
        """Return the facade's lines of calls."""
        found = []
        for text in self.facade.log().splitlines():
            if '"productsearch.access"' in text:
                found.append(json.loads(text))
        return found


@dataclass(frozen=True)
class Act:
    """What happens, which causes must fire and no other, and whom the lines blame (empty: any)."""

    name: str
    play: Callable[[Stage], Iterator[None]]
    causes: frozenset[str]
    blame: str = ""
    symptom: str = ""


def _healthy(_: Stage) -> Iterator[None]:
    yield


def _slow(stage: Stage) -> Iterator[None]:
    stage.proxy.delay_s = 3.0
    yield
    stage.proxy.delay_s = 0.0


def _key_used_elsewhere(stage: Stage) -> Iterator[None]:
    stage.proxy.share_of_18 = 0.5
    yield
    stage.proxy.share_of_18 = 0.0


def _token_revoked(stage: Stage) -> Iterator[None]:
    stage.proxy.revoked = True
    yield
    stage.proxy.revoked = False
    # After a rejected key pair the facade asks every five minutes: an operator puts a new pair in.
    stage.facade.stop()
    stage.start_facade()


def _down(stage: Stage) -> Iterator[None]:
    stage.proxy.down = True
    yield
    stage.proxy.down = False


def _greedy(stage: Stage) -> Iterator[None]:
    with stage.load.greedy():
        yield


def _poison(stage: Stage) -> Iterator[None]:
    with stage.load.poison():
        yield


def _drain(stage: Stage) -> Iterator[None]:
    stage.prometheus.targets(facade=[])  # as service discovery does with a replica that stops
    time.sleep(2)
    stage.facade.stop()
    stage.start_facade()
    yield


def _replica_gone(stage: Stage) -> Iterator[None]:
    stage.facade.stop()
    yield
    stage.start_facade()


def _database_slow(stage: Stage) -> Iterator[None]:
    with stage.load.beside(lambda: _lock_images(stage.engine)):
        yield


def _lock_images(engine: Engine) -> None:
    with connected(engine) as connection, connection.transaction():
        connection.execute("lock table images in access exclusive mode")
        time.sleep(1.5)


def _certificate(stage: Stage) -> Iterator[None]:
    with stage.load.second_facade_with_a_certificate(stage.folder, stage.prometheus):
        yield


def _causes(*names: str) -> frozenset[str]:
    return frozenset(names)


ACTS = (
    Act("healthy", _healthy, _causes()),
    Act("slow upstream", _slow, _causes(), symptom="BudgetOfTime"),
    Act("key used elsewhere", _key_used_elsewhere, _causes("KeyUsedElsewhere"), "quota"),
    Act("one greedy caller", _greedy, _causes("CallerTakesQuota"), "quota"),
    Act("poison", _poison, _causes(), "caller"),
    Act("database slow", _database_slow, _causes("EngineDatabaseSlow")),
    Act("certificate near its end", _certificate, _causes("CertificateEnds")),
    Act("drain", _drain, _causes()),
    Act("upstream down", _down, _causes("UpstreamDown"), "upstream", "BudgetOfUpstream"),
    Act("replica gone", _replica_gone, _causes("ReplicaGone")),
    Act(
        "token revoked", _token_revoked, _causes("CredentialsRejected"), "facade", "BudgetOfFacade"
    ),
)


@contextmanager
def _set_up() -> Iterator[Stage]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evening-")))
        engine = stack.enter_context(Engine())
        proxy = stack.enter_context(Proxy(engine.url))
        keys = engine.create_library("shop")
        facade = Facade(
            folder / "facade",
            proxy.url,
            {"default": keys},
            environment={
                "PRODUCTSEARCH_LIBRARIES__DEFAULT__QUOTA_QPS": str(_QUOTA_QPS),
                "PRODUCTSEARCH_LIBRARIES__DEFAULT__KEY_PAIR_ENDS": "2099-01-01",
                "PRODUCTSEARCH_POLICY_FILE": str(write_policy(folder)),
                "PRODUCTSEARCH_DRAIN_DELAY_S": "0",
                "PRODUCTSEARCH_LOG_FORMAT": "json",
            },
        )
        stack.enter_context(facade)
        prometheus = stack.enter_context(Prometheus(folder / "prometheus"))
        prometheus.targets(facade=[facade.metrics], engine=[engine.url.removeprefix("http://")])
        load = stack.enter_context(Load(facade, tokens()))
        yield Stage(folder, engine, proxy, facade, prometheus, load)


def _played(stage: Stage, act: Act) -> bool:
    """Play an act; return whether everything is as it should be."""
    settled = _until(lambda: not stage.prometheus.firing("cause"), _SETTLE_S)
    began, lines = time.monotonic(), len(stage.lines())
    fired: set[str] = set()
    symptoms: set[str] = set()
    playing = act.play(stage)
    next(playing)
    while time.monotonic() - began < _ACT_S:
        fired |= stage.prometheus.firing("cause")
        symptoms |= stage.prometheus.firing("symptom")
        time.sleep(0.5)
    blames = Counter(
        str(line["blame"]) for line in stage.lines()[lines:] if line["blame"] not in ("none", "-")
    )
    next(playing, None)
    most = blames.most_common(1)[0][0] if blames else ""
    good = settled and fired == act.causes and (not act.blame or most == act.blame)
    good = good and (not act.symptom or act.symptom in symptoms)
    said = ", ".join(sorted(fired)) or "none"
    wanted = ", ".join(sorted(act.causes)) or "none"
    print(
        f"{act.name}: {said} (bar {wanted}); blame {most or '-'} (bar {act.blame or 'any'}); "
        f"symptoms {', '.join(sorted(symptoms)) or 'none'} (bar {act.symptom or 'any'}) "
        f"{'ok' if good else 'short'}",
        flush=True,
    )
    return good


def _until(true: Callable[[], bool], within_s: float) -> bool:
    ends_s = time.monotonic() + within_s
    while not true():
        if time.monotonic() > ends_s:
            return False
        time.sleep(0.5)
    return True


def _dashboard_has_data(stage: Stage) -> bool:
    """Ask each query of the dashboard, over the whole evening; Envoy's are the mesh's."""
    empty = []
    asked = 0
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            if "envoy_" in query:
                continue
            for name, value in (
                ("$__rate_interval", "1h"),
                ("$instance", ".*"),
                ("$library", ".*"),
            ):
                query = query.replace(name, value)
            asked += 1
            if not stage.prometheus.ever_had_data(query):
                empty.append(f"{panel['title']}: {query}")
    for each in empty:
        print(f"no data: {each}")
    verdict = "short" if empty else "ok"
    print(f"dashboard queries with data: {asked - len(empty)} (bar {asked}) {verdict}")
    return not empty


def main() -> int:
    """Play the evening, or some acts of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("acts", nargs="*", metavar="ACT")
    parser.add_argument("--stay", action="store_true", help="keep everything up until Ctrl-C")
    asked = parser.parse_args()
    acts = [act for act in ACTS if not asked.acts or act.name in asked.acts]
    with _set_up() as stage:
        print(f"Prometheus: {stage.prometheus.url}/alerts; the facade's log: {stage.folder}/facade")
        good = [_played(stage, act) for act in acts]
        if not asked.acts:
            good.append(_dashboard_has_data(stage))
        if asked.stay:
            print("everything stays up until Ctrl-C")
            with suppress(KeyboardInterrupt):
                time.sleep(24 * 3600)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
