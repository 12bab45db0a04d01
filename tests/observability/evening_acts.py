"""The acts of the evening: what happens in each, and what must be said of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from demo.processes import Engine
from tests.engine.databases import connected
from tests.observability import evening_second
from tests.observability.evening_callers import Load
from tests.observability.evening_stage import Stage

_LOCKED_S = 3.0


@dataclass(frozen=True)
class Act:
    """What happens, which causes must fire and no other, and what else must be seen.

    ``incident`` is the row of the decision table that the dashboard's panels must lead to; empty:
    none. ``blame`` is whom most of the facade's lines of failed calls blame, ``flags`` what most
    of the gateway's own failures are, in Envoy's letters; empty: any.
    """

    name: str
    play: Callable[[Stage, Load], Iterator[None]]
    causes: frozenset[str]
    incident: str
    blame: str = ""
    symptom: str = ""
    flags: str = ""


def _healthy(_: Stage, __: Load) -> Iterator[None]:
    yield


def _slow(stage: Stage, _: Load) -> Iterator[None]:
    stage.proxy.delay_s = 3.0
    yield
    stage.proxy.delay_s = 0.0


def _key_used_elsewhere(stage: Stage, _: Load) -> Iterator[None]:
    stage.proxy.share_of_18 = 0.5
    yield
    stage.proxy.share_of_18 = 0.0


def _token_revoked(stage: Stage, _: Load) -> Iterator[None]:
    stage.proxy.revoked = True
    yield
    stage.proxy.revoked = False
    # After a rejected key pair the facade asks every five minutes: an operator puts a new pair in.
    stage.facade.stop()
    stage.facade.start()


def _down(stage: Stage, _: Load) -> Iterator[None]:
    stage.proxy.down = True
    yield
    stage.proxy.down = False


def _greedy(_: Stage, load: Load) -> Iterator[None]:
    with load.greedy():
        yield


def _all_want_more(_: Stage, load: Load) -> Iterator[None]:
    with load.crowd():
        yield


def _poison(_: Stage, load: Load) -> Iterator[None]:
    with load.poison():
        yield


def _shut_out(stage: Stage, _: Load) -> Iterator[None]:
    policy = stage.folder / "policy.toml"
    good = policy.read_text()
    policy.write_text(good.replace("spiffe://productsearch", "spiffe://productsaerch"))
    yield
    policy.write_text(good)


def _broken_policy(stage: Stage, _: Load) -> Iterator[None]:
    policy = stage.folder / "policy.toml"
    good = policy.read_text()
    policy.write_text(good + "\n[[rules]]\n")
    yield
    policy.write_text(good)


def _flood(_: Stage, load: Load) -> Iterator[None]:
    with load.flood():
        yield


def _drain(stage: Stage, _: Load) -> Iterator[None]:
    stage.prometheus.targets(facade=[])  # as service discovery does with a replica that stops
    time.sleep(2)
    stage.facade.stop()
    stage.facade.start()
    stage.prometheus.targets(facade=[stage.facade.metrics])
    yield


def _replica_gone(stage: Stage, _: Load) -> Iterator[None]:
    stage.facade.stop()
    yield
    stage.facade.start()


def _gateway_gone(stage: Stage, _: Load) -> Iterator[None]:
    stage.stop_gateway()
    yield
    stage.start_gateway()


def _gateway_cut_off(stage: Stage, _: Load) -> Iterator[None]:
    stage.stop_gateway()
    stage.start_gateway(cut_off=True)
    yield
    stage.stop_gateway()
    stage.start_gateway()


def _database_slow(stage: Stage, load: Load) -> Iterator[None]:
    with load.beside(lambda: _lock_images(stage.engine)):
        yield


def _lock_images(engine: Engine) -> None:
    with connected(engine) as connection, connection.transaction():
        connection.execute("lock table images in access exclusive mode")
        time.sleep(_LOCKED_S)


def _certificate(stage: Stage, _: Load) -> Iterator[None]:
    with evening_second.with_a_certificate(stage.folder, stage.prometheus):
        yield


def _replica_slow(stage: Stage, _: Load) -> Iterator[None]:
    with evening_second.with_a_slow_way(stage):
        yield


def _not_trusted(_: Stage, load: Load) -> Iterator[None]:
    with load.not_trusted():
        yield


def _image_host(_: Stage, load: Load) -> Iterator[None]:
    silent = socket.create_server(("127.0.0.1", 0), backlog=64)
    with load.images_at(f"127.0.0.1:{silent.getsockname()[1]}"):
        yield
        silent.close()  # what still waits for it is refused


def _causes(*names: str) -> frozenset[str]:
    return frozenset(names)


ACTS = (
    Act("healthy", _healthy, _causes(), ""),
    Act("slow upstream", _slow, _causes(), "upstream slow", symptom="BudgetOfTime"),
    Act(
        "key used elsewhere",
        _key_used_elsewhere,
        _causes("KeyUsedElsewhere"),
        "key used elsewhere",
        "quota",
    ),
    Act("one greedy caller", _greedy, _causes("CallerTakesQuota"), "greedy caller", "quota"),
    Act(
        "quota too small",
        _all_want_more,
        _causes("QuotaTooSmall"),
        "quota too small",
        "quota",
    ),
    Act("poison", _poison, _causes(), "bad input", "caller"),
    Act("callers shut out", _shut_out, _causes("CallersShutOut"), "callers shut out", "caller"),
    Act("broken policy", _broken_policy, _causes("FileBroken"), "changed file not in use"),
    Act("flood", _flood, _causes("GatewayRefuses"), "flood", "caller", flags="RL"),
    Act("database slow", _database_slow, _causes("EngineDatabaseSlow"), "database slow"),
    Act("image host slow", _image_host, _causes(), "image host slow"),
    Act("replica slow", _replica_slow, _causes(), "replica slow"),
    Act(
        "caller not trusted",
        _not_trusted,
        _causes("CallersNotTrusted"),
        "caller not trusted",
    ),
    Act("certificate near its end", _certificate, _causes("CertificateEnds"), "certificate ends"),
    Act("drain", _drain, _causes(), ""),
    Act(
        "upstream down",
        _down,
        _causes("UpstreamDown"),
        "upstream down",
        "upstream",
        "BudgetOfUpstream",
    ),
    Act("replica gone", _replica_gone, _causes("ReplicaGone"), "replica gone", flags="UF"),
    Act("gateway cut off", _gateway_cut_off, _causes("GatewayCutOff"), "gateway cut off"),
    Act("gateway gone", _gateway_gone, _causes("GatewayGone"), "gateway gone"),
    Act(
        "token revoked",
        _token_revoked,
        _causes("CredentialsRejected"),
        "key pair rejected",
        "facade",
        "BudgetOfFacade",
    ),
)
