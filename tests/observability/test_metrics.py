"""Metrics: OpenTelemetry's names, bounded labels, and states that say what comes next."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from productsearch import v1
from productsearch_service import limits
from productsearch_service.batching import Batch
from productsearch_service.call_context import Caller, Deadline
from productsearch_service.counters import CALL_DURATION, Counters
from productsearch_service.errors import RateLimited
from productsearch_service.rpc import access_record
from productsearch_service.settings import Settings
from productsearch_service.upstream.pacing.pacer import Pacer
from productsearch_service.upstream.pacing.rate import Rate
from productsearch_service.upstream.pacing.schedule import Schedule
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, Fault
from tests.identity.authority import Authority, ServerFiles
from tests.lifecycle.asking import until
from tests.pictures import jpeg

PAGE = Path(__file__).resolve().parents[2] / "docs/operating.md"
SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
OTHER_SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(2)))
METHOD = "productsearch.v1.ProductSearch/SearchImages"

Facade = Callable[..., Server]


@pytest.fixture
def facade(upstream: FakeUpstream) -> Iterator[Facade]:
    """Return a function that starts a facade with all of its ports."""
    servers: list[Server] = []

    def start(library: dict[str, Any] | None = None, **changes: Any) -> Server:
        only = {"base_url": upstream.url, "api_key": "the-api-key", "quota_qps": 0}
        only |= {"secret_key": "the-secret-key"} | (library or {})
        ports = dict.fromkeys(("listen", "admin_listen", "metrics_listen"), "127.0.0.1:0")
        rest = {"libraries": {"default": only}, "drain_delay_s": 0, "drain_grace_s": 1}
        servers.append(Server(Settings(**ports | rest | changes), with_admin=True))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def _registry(server: Server) -> CollectorRegistry:
    return server.service._counters.registry


def _value(server: Server, name: str, **labels: str) -> float | None:
    return _registry(server).get_sample_value(name, labels)


def _ask(server: Server, timeout_s: float = 30.0) -> None:
    with v1.connect(f"127.0.0.1:{server.port}") as channel:
        v1.ProductSearchStub(channel).SearchImages(SEARCH, timeout=timeout_s)


def test_calls_have_opentelemetrys_name(facade: Facade) -> None:
    """The histogram by method and status code, with a bucket for the longest call."""
    server = facade()
    _ask(server)
    labels = {"rpc_method": METHOD, "rpc_status_code": "OK"}
    until(lambda: _value(server, f"{CALL_DURATION}_count", **labels) == 1, "the call's count")
    assert 1 == _value(server, f"{CALL_DURATION}_bucket", **labels, le="30.0")
    assert None is _value(
        server, "productsearch_rpcs_total", code="OK", method="SearchImages", reason=""
    )


def test_old_names_are_there_by_setting(facade: Facade) -> None:
    """For one release, beside the new ones."""
    server = facade(old_metric_names=True)
    _ask(server)
    labels = {"code": "OK", "method": "SearchImages", "reason": ""}
    until(lambda: _value(server, "productsearch_rpcs_total", **labels) == 1, "the old name")
    assert 1 == _value(server, "productsearch_rpc_duration_seconds_count", method="SearchImages")


def test_quota_limit_use_and_throttle(facade: Facade) -> None:
    """Side by side, with who asked for slots and how long its next call could wait."""
    server = facade({"quota_qps": 40}, replicas=2)
    _ask(server)
    library = {"library": "default"}
    assert 20 == _value(server, "productsearch_quota_limit", **library)
    rate = _value(server, "productsearch_pacer_rate", **library)
    assert 20 * limits.QUOTA_SHARE == rate
    caller = library | {"caller": "other"}
    assert 1 == _value(server, "productsearch_caller_slots_total", **caller, outcome="given")
    headroom = _value(server, "productsearch_caller_headroom_seconds", **caller)
    assert headroom is not None
    assert 20 < headroom <= 30


def test_a_caller_that_leaves_the_queue_is_not_refused(facade: Facade) -> None:
    """Its calls would else make the quota look too small."""
    server = facade({"quota_qps": 0.1})
    _ask(server)
    caller = {"library": "default", "caller": "other"}
    with v1.connect(f"127.0.0.1:{server.port}") as channel:
        left = v1.ProductSearchStub(channel).SearchImages.future(OTHER_SEARCH, timeout=30)
        until(
            lambda: _value(server, "productsearch_pacer_waiting", library="default") == 1,
            "the call in the queue",
        )
        left.cancel()
        until(
            lambda: _value(server, "productsearch_pacer_waiting", library="default") == 0,
            "the call out of the queue",
        )
    slots = "productsearch_caller_slots_total"
    assert not _value(server, slots, **caller, outcome="refused")
    assert 1 == _value(server, slots, **caller, outcome="given")
    assert not _value(server, "productsearch_pacer_refusals_total", library="default")


def test_a_deadline_that_no_slot_could_meet_is_not_the_quotas(
    facade: Facade, upstream: FakeUpstream
) -> None:
    """The upstream usually takes longer than the caller waits; the queue is empty."""
    server = facade({"quota_qps": 100})
    upstream.always("search", Fault(seconds=0.6, body=b'{"log_id":1,"result_num":0,"result":[]}'))
    for _ in range(3):
        _ask(server)
    with pytest.raises(grpc.RpcError) as caught:
        _ask(server, 0.3)
    assert "DEADLINE_TOO_SHORT" in str(caught.value.trailing_metadata())
    caller = {"library": "default", "caller": "other"}
    assert not _value(server, "productsearch_caller_slots_total", **caller, outcome="refused")
    headroom = _value(server, "productsearch_caller_headroom_seconds", **caller)
    assert headroom is not None
    assert headroom > 0


@pytest.mark.asyncio
async def test_headroom_is_of_who_calls() -> None:
    """Who has not called for minutes is told no more: no queue would be of its making."""
    later_s = 0.0
    counters = Counters().library("default")
    pacer = Pacer(10.0, counters, clock=lambda: time.monotonic() + later_s)
    await pacer.wait(Caller("one", label="one"), Deadline.after(10.0), is_search=True)
    assert ["one"] == [*pacer.stats.headroom_s()]
    later_s = limits.HEADROOM_TOLD_S + 1
    assert {} == pacer.stats.headroom_s()
    pacer.close()


def test_a_caller_that_is_refused_has_no_headroom(facade: Facade, upstream: FakeUpstream) -> None:
    """One slot in ten seconds, and it was just given: a call of a second comes too early."""
    server = facade({"quota_qps": 0.1})
    _ask(server)
    with pytest.raises(grpc.RpcError):
        _ask(server, 1.0)
    caller = {"library": "default", "caller": "other"}
    headroom = _value(server, "productsearch_caller_headroom_seconds", **caller)
    assert headroom is not None
    assert -11 < headroom < 0
    assert 1 == _value(server, "productsearch_caller_slots_total", **caller, outcome="refused")


@given(
    queued=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40),
    caller=st.sampled_from("abcd"),
    is_search=st.booleans(),
    share=st.integers(1, 3),
    headroom_s=st.floats(-0.4, 0.4),
)
def test_headroom_foretells_the_refusal(
    queued: list[tuple[str, bool]], caller: str, is_search: bool, share: int, headroom_s: float
) -> None:
    """Whatever waits: a call is refused if, and only if, its headroom is below zero."""
    schedule, now_s = Schedule(Rate(4.0)), 100.0
    for name, searches in queued:
        schedule.offer(name, now_s + 1000, now_s, is_search=searches)
    schedule.take(now_s)
    wait_s = schedule.slot_wait_s(caller, share, now_s, is_search=is_search)
    patience_s = wait_s + headroom_s
    if abs(headroom_s) < 1e-6 or patience_s < 0:
        return
    try:
        schedule.offer(caller, now_s + patience_s, now_s, is_search=is_search, share=share)
    except RateLimited:
        assert headroom_s < 0
    else:
        assert headroom_s > 0


def test_callers_are_named_up_to_a_bound() -> None:
    """However many a policy lists; those after are one, and known ones keep their name."""
    counters = Counters()
    for number in range(3 * limits.CALLER_LABELS_MAX):
        counters.rpcs.ended("SearchImages", "OK", "", f"caller-{number}", "default", 0.1)
        counters.library("default").paced(0.1, f"caller-{number}", refused=False)
    for family, name in (
        ("caller_rpcs", "caller_rpcs_total"),
        ("caller_slots", "caller_slots_total"),
    ):
        samples = {
            sample.labels["caller"]: sample.value
            for metric in counters.registry.collect()
            for sample in metric.samples
            if sample.name == f"productsearch_{name}"
        }
        assert limits.CALLER_LABELS_MAX + 1 == len(samples), family
        assert 2 * limits.CALLER_LABELS_MAX == samples["other"]


def test_whoever_asks_sees_all_that_ended(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    facade: Facade,
    upstream: FakeUpstream,
) -> None:
    """Counts wait for others, and not for Prometheus; a stop leaves no line behind."""
    monkeypatch.setattr(limits, "TOLD_WITHIN_S", 1e6)
    caplog.set_level(logging.INFO, access_record.NAME)
    upstream.always("search", {"log_id": 1, "result": [], "has_more": False})
    running = facade()
    calls = {"caller": "other", "library": "default", "code": "OK"}
    with v1.connect(f"127.0.0.1:{running.port}") as channel:
        for ended in range(1, 2 * limits.TOLD_TOGETHER_MAX):
            v1.ProductSearchStub(channel).SearchImages(SEARCH)
            if ended % 50 == 0:  # each time the calls till then are told of
                assert ended == _value(running, "productsearch_caller_rpcs_total", **calls)
    running.stop()
    told = [each.getMessage() for each in caplog.records if each.name == access_record.NAME]
    assert ended == len("\n".join(told).splitlines())
    assert len(told) <= ended / 10, "a record of logging for each call is its dearest part"


def test_a_batch_is_bounded_and_nothing_in_it_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """At its bound it is carried out at once; what fails is logged, and the rest is done."""
    done: list[int] = []

    def work(numbers: list[int]) -> None:
        done.extend(numbers)
        if len(done) == limits.TOLD_TOGETHER_MAX:
            raise ZeroDivisionError

    async def fill() -> None:
        batch = Batch(work)
        for number in range(limits.TOLD_TOGETHER_MAX - 1):
            batch.add(number)
        assert not done
        batch.add(-1)
        assert limits.TOLD_TOGETHER_MAX == len(done)
        batch.add(-2)
        await asyncio.sleep(5 * limits.TOLD_WITHIN_S)

    asyncio.run(fill())
    assert [*range(limits.TOLD_TOGETHER_MAX - 1), -1, -2] == done
    assert ["ZeroDivisionError"] == [
        record.exc_info[0].__name__
        for record in caplog.records
        if record.exc_info and record.exc_info[0]
    ]


def test_no_count_is_lost_between_threads() -> None:
    """A scrape has a batch carried out while the event loop does so too."""
    counted = 0

    def work(numbers: list[int]) -> None:
        nonlocal counted
        before = counted
        time.sleep(0.001)
        counted = before + len(numbers)

    batch = Batch(work)  # without a loop each item is done at once

    def add() -> None:
        for number in range(20):
            batch.add(number)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batch.carry_out()
    assert 80 == counted


def test_calls_and_bytes_stand_beside_their_bounds(facade: Facade) -> None:
    """Each kind that is counted has a bound of calls."""
    server = facade()
    kinds: dict[str, set[str]] = {}
    for metric in _registry(server).collect():
        for sample in metric.samples:
            if "kind" in sample.labels:
                kinds.setdefault(sample.name, set()).add(sample.labels["kind"])
    assert kinds["productsearch_rpcs_in_flight"] == kinds["productsearch_rpcs_limit"]
    assert limits.BYTES_IN_FLIGHT_MAX == _value(
        server, "productsearch_rpc_bytes_limit", kind="unary"
    )


def test_days_of_certificates_and_the_token(facade: Facade, tmp_path: Path) -> None:
    """What ends one day is seen before."""
    files = ServerFiles(tmp_path / "tls", Authority())
    server = facade(**files.settings())
    for what in ("tls_cert_file", "tls_client_ca_file"):
        days = _value(server, "productsearch_certificate_days_left", what=what)
        assert days is not None
        assert 0 < days < 1 / 24 + 0.01
        begins = _value(server, "productsearch_certificate_begins_in_days", what=what)
        assert begins is not None
        assert -1 / 24 - 0.01 < begins < 0
    until(lambda: _value(server, "productsearch_token_left_seconds", library="default"), "a token")
    left_s = _value(server, "productsearch_token_left_seconds", library="default")
    assert left_s == pytest.approx(2592000, abs=60)
    assert limits.RETRY_BUDGET_MAX == _value(
        server, "productsearch_retry_budget", library="default"
    )


def test_days_of_the_key_pair(facade: Facade, tmp_path: Path) -> None:
    """Its age by its files, and the days to the one that is set; without either there is none."""
    (tmp_path / "api_key").write_text("an-api-key")
    (tmp_path / "secret_key").write_text("a-secret-key")
    written = time.time() - 3 * 86_400
    for name, at_s in (("api_key", written - 86_400), ("secret_key", written)):
        os.utime(tmp_path / name, (at_s, at_s))
    ends = datetime.now(UTC).date() + timedelta(days=10)
    pair = {"credentials_dir": tmp_path, "api_key": None, "secret_key": None}
    server = facade(pair | {"key_pair_ends": ends})
    age = _value(server, "productsearch_key_pair_age_days", library="default")
    assert age == pytest.approx(3, abs=0.1)
    left = _value(server, "productsearch_key_pair_days_left", library="default")
    assert left is not None
    assert 9 <= left <= 10
    plain = facade()
    for name in ("age_days", "days_left"):
        assert _value(plain, f"productsearch_key_pair_{name}", library="default") is None


def test_cached_searches_are_counted(facade: Facade) -> None:
    """By how they were answered, and what the pages take."""
    server = facade({"search_cache_ttl_s": 60})
    _ask(server)
    _ask(server)
    name, labels = "productsearch_search_cache_total", {"library": "default"}
    assert 1 == _value(server, name, **labels, outcome="searched")
    assert 1 == _value(server, name, **labels, outcome="hit")
    assert (_value(server, "productsearch_search_cache_bytes", **labels) or 0) > 0


def test_the_page_has_each_metric(facade: Facade, tmp_path: Path) -> None:
    """And none that does not exist; nor does a label hold what callers make up."""
    server = facade(**ServerFiles(tmp_path / "tls", Authority()).settings())
    names = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in _registry(server).collect()
        if not metric.name.startswith("process_")
    }
    table = PAGE.read_text("utf-8").partition("\n## Metrics")[2].partition("\n##")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`([a-z_]{5,})`", row.split("|")[1])}
    short = {name.removeprefix("productsearch_") for name in names}
    assert sorted(short) == sorted(told)


def test_a_key_pair_that_cannot_be_used_is_a_broken_file(
    facade: Facade, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """By the setting's whole name: the alert says which library's."""
    for name in ("api_key", "secret_key"):
        (tmp_path / name).write_text(f"the-{name}")
    pair = {"api_key": None, "secret_key": None, "credentials_dir": tmp_path}
    server = facade(pair | {"credentials_poll_s": 0.05})
    _ask(server)
    what = "libraries.default.credentials_dir"
    assert 0 == _value(server, "productsearch_files_broken", what=what)
    (tmp_path / "secret_key").write_text("")
    until(lambda: _value(server, "productsearch_files_broken", what=what) == 1, "a broken pair")
    refused = "UPSTREAM_CREDENTIALS_REJECTED"
    outcomes = {"ok": 1.0, refused: 1.0}

    def counted() -> dict[str, float]:
        name = "productsearch_token_refreshes_total"
        found = {each: _value(server, name, library="default", outcome=each) for each in outcomes}
        return {each: value or 0.0 for each, value in found.items()}

    upstream.then("token", Fault(status=401, body=b'{"error": "invalid_client"}'))
    (tmp_path / "secret_key").write_text("a-wrong-secret")
    until(lambda: counted() == outcomes, "a rejected request is counted")
    (tmp_path / "secret_key").write_text("a-good-secret")
    until(lambda: counted() == outcomes | {"ok": 2.0}, "the one that succeeds too")
    assert 0 == _value(server, "productsearch_files_broken", what=what)
