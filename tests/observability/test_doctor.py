"""The doctor: what is broken has its code, and nothing else is called broken because of it."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import pytest
from cryptography import x509

from productsearch_service.audit import Audit
from productsearch_service.call_context import Deadline
from productsearch_service.server.certificates import days_left
from productsearch_service.server.doctor import command, finding
from productsearch_service.server.doctor.finding import Check, Report, ok
from productsearch_service.server.doctor.machine import memory_limit_bytes
from productsearch_service.settings import Settings
from productsearch_service.settings_library import LibrarySettings
from tests.conftest import ServerFactory
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, Fault, error
from tests.identity.authority import Authority, Issued, ServerFiles
from tests.observability.collector import Collector, Refusing

API_KEY, SECRET_KEY = "an-api-key-of-the-doctors", "a-secret-key-of-the-doctors"
PAGE = Path(__file__).resolve().parents[2] / "docs/operating.md"

Doctor = Callable[..., dict[str, Report]]


@pytest.fixture
def key_pair(tmp_path: Path) -> Path:
    """A directory with a key pair that its owner alone reads."""
    directory = tmp_path / "pair"
    directory.mkdir()
    for name, text in (("api_key", API_KEY), ("secret_key", SECRET_KEY)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o600)
    return directory


@pytest.fixture
def doctor(upstream: FakeUpstream, key_pair: Path) -> Doctor:
    """Return a function that takes changes to good settings and returns the reports by code."""

    def ask(
        library: dict[str, Any] | None = None,
        limit_s: float = 30.0,
        *,
        expect_running: bool = False,
        **changes: Any,
    ) -> dict[str, Report]:
        only = {"base_url": upstream.url, "credentials_dir": key_pair} | (library or {})
        ports = {"listen": "127.0.0.1:0", "admin_listen": "", "metrics_listen": ""} | changes
        settings = Settings(libraries={"default": LibrarySettings(**only)}, **ports)
        read = ok("the test's")
        deadline = Deadline.after(limit_s)
        checks = command.all_checks(settings, read, deadline, expect_running=expect_running)
        checks = [each for each in checks if each.code != "images.fit"]  # it takes a process
        return {each.code: each for each in finding.run(checks, deadline)}

    return ask


def not_well(reports: dict[str, Report]) -> dict[str, str]:
    return {
        each.code: each.state for each in reports.values() if each.state not in ("ok", "skipped")
    }


def test_all_is_well(upstream: FakeUpstream, key_pair: Path, tmp_path: Path) -> None:
    """The command itself: at least 20 codes, exit 0, the pair and the token nowhere."""
    file = tmp_path / "settings.toml"
    ports = "".join(f'{name}_listen="127.0.0.1:0"\n' for name in ("admin", "metrics"))
    library = f'[libraries.default]\nbase_url="{upstream.url}"\ncredentials_dir="{key_pair}"\n'
    file.write_text(f'listen="127.0.0.1:0"\n{ports}{library}')
    done = subprocess.run(
        [sys.executable, "-m", "productsearch_service", "doctor", "--json", "--limit", "60"],
        env={**os.environ, "PRODUCTSEARCH_SETTINGS": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    told = json.loads(done.stdout)
    assert 20 <= len({each["code"] for each in told["checks"]})
    assert {"ok", "skipped"} == {each["state"] for each in told["checks"]}
    assert not re.search(f"{API_KEY}|{SECRET_KEY}|24\\.token", done.stdout)
    assert upstream.calls[0].method == "search"


@pytest.mark.parametrize(
    ("method", "answer", "found"),
    [
        (
            "token",
            Fault(status=401, body=b'{"error":"invalid_client"}'),
            {"upstream.token": "broken"},
        ),
        ("token", Fault(status=500, body=b"no"), {"upstream.token": "broken"}),
        ("search", error(216017), {"upstream.search": "broken"}),
        ("search", error(17), {"upstream.search": "warning"}),
        ("search", error(14), {"upstream.search": "broken"}),
        ("search", error(216203), {}),
    ],
)
def test_what_the_upstream_says(
    method: str, answer: Any, found: dict[str, str], doctor: Doctor, upstream: FakeUpstream
) -> None:
    """The one check that the answer concerns tells it; one that hangs ends at its own limit."""
    upstream.always(method, answer)
    assert found == not_well(doctor())


@pytest.fixture
def short_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says nothing for a moment counts as hanging."""
    monkeypatch.setattr(finding, "_SIGN_S", 0.3)


@pytest.mark.parametrize("method", ["search", "token"])
@pytest.mark.parametrize(("sign_s", "state"), [(0.3, "broken"), (5.0, "unknown")])
def test_an_upstream_that_hangs(
    method: str,
    sign_s: float,
    state: str,
    doctor: Doctor,
    upstream: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The check ends at its limit, and the others are told; too little time is no sign."""
    monkeypatch.setattr(finding, "_SIGN_S", sign_s)
    upstream.always(method, Fault("stall", seconds=3))
    reports = doctor(limit_s=1.0)
    assert state == reports[f"upstream.{method}"].state
    assert "ok" == reports["upstream.key_pair"].state


def test_an_upstream_that_is_down(doctor: Doctor, upstream: FakeUpstream) -> None:
    """Connection and token are broken; what only follows from that is skipped."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        reports = doctor({"base_url": f"http://127.0.0.1:{taken.getsockname()[1]}"})
    assert {"upstream.connect": "broken", "upstream.token": "broken"} == not_well(reports)
    assert "skipped" == reports["upstream.search"].state == reports["upstream.clock"].state
    assert "Connection refused" in reports["upstream.connect"].evidence


def test_a_name_without_an_address(doctor: Doctor) -> None:
    """The name server's word, under a code of its own."""
    assert "broken" == doctor({"base_url": "https://none.invalid"})["upstream.resolve"].state


def test_a_certificate_that_nobody_trusts(doctor: Doctor, tmp_path: Path) -> None:
    """Seen in the handshake, told with its reason."""
    import ssl

    files = ServerFiles(tmp_path / "tls", Authority())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.directory / "tls.crt", files.directory / "tls.key")
    with _Serving(BaseHTTPRequestHandler, context) as port:
        report = doctor({"base_url": f"https://127.0.0.1:{port}"})["upstream.tls"]
    assert "broken" == report.state
    assert "not trusted" in report.evidence
    with _Serving(BaseHTTPRequestHandler, context) as port:
        trusting = {"base_url": f"https://127.0.0.1:{port}", "ca_bundle": tmp_path / "tls/ca.crt"}
        assert "warning" == doctor(trusting)["upstream.tls"].state, "it ends in an hour"


class _Serving:
    """A context: an HTTP server on a free port."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], tls: Any = None) -> None:
        handler.log_message = lambda *_: None  # type: ignore[method-assign,assignment] # silent
        self._server = HTTPServer(("127.0.0.1", 0), handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> int:
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self._server.server_port

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_clock_that_is_wrong(doctor: Doctor) -> None:
    """The upstream's Date header against ours."""

    class InThePast(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() - 600)

    with _Serving(InThePast) as port:
        report = doctor({"base_url": f"http://127.0.0.1:{port}"})["upstream.clock"]
    assert "warning" == report.state
    assert re.search(r"(599|600|601|602) s ahead", report.evidence)


POLICY = """
[callers.shop]
token_sha256 = ["{digest}"]
[[rules]]
callers = ["shop", "spiffe://mesh/web"]
libraries = ["{library}"]
"""


def _policy(tmp_path: Path, library: str = "default") -> Path:
    file = tmp_path / "policy.toml"
    file.write_text(POLICY.format(digest="0" * 64, library=library))
    return file


def test_callers_that_can_never_call(doctor: Doctor, tmp_path: Path) -> None:
    """A SPIFFE id that nothing proves; a caller whose library is not there."""
    policy = _policy(tmp_path)
    report = doctor(policy_file=policy)["policy.reach"]
    assert ("warning", 1) == (report.state, len(report.evidence.splitlines()))
    assert "spiffe://mesh/web has no token" in report.evidence
    behind_envoy = doctor(policy_file=policy, sidecars=("10.0.0.7/32",))
    assert {} == not_well(behind_envoy)
    report = doctor(policy_file=_policy(tmp_path, "season"), sidecars=("10.0.0.7/32",))
    assert "caller shop may call no method" in report["policy.reach"].evidence
    assert "warning" == report["policy.unused"].state


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"sidecars": ("0.0.0.0/0",)}, {"callers.header": "warning"}),
        ({"sidecars": ("::/0",)}, {"callers.header": "warning"}),
        ({"listen": "0.0.0.0:0", "open_to_network": True}, {"callers.open": "warning"}),
        ({"connections_max": 10**9}, {"machine.descriptors": "warning"}),
    ],
)
def test_settings_that_are_hardly_meant(
    changes: dict[str, Any], found: dict[str, str], doctor: Doctor
) -> None:
    """Each is one warning."""
    assert found == not_well(doctor(**changes))


@pytest.mark.parametrize(
    ("days", "state"), [(-1, "broken"), (0, "broken"), (10, "warning"), (20, "ok"), (None, "ok")]
)
def test_a_key_pair_near_its_end(days: int | None, state: str, doctor: Doctor) -> None:
    """Its day is past, near or far; without one its age is told."""
    ends = (
        None
        if days is None
        else datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days)
    )
    found = doctor({"key_pair_ends": ends})["upstream.key_end"]
    assert state == found.state
    assert "written 0 days ago" in found.evidence


def test_files_that_others_can_read(doctor: Doctor, key_pair: Path) -> None:
    """The secret's mode; an empty one is broken."""
    (key_pair / "secret_key").chmod(0o644)
    assert {"upstream.key_mode": "warning"} == not_well(doctor())
    (key_pair / "secret_key").write_text("")
    reports = doctor()
    assert "broken" == reports["upstream.key_pair"].state
    assert "skipped" == reports["upstream.search"].state


def test_files_that_are_not_there(doctor: Doctor, key_pair: Path) -> None:
    """Each check that looks at them says so."""
    (key_pair / "secret_key").unlink()
    reports = doctor()
    for code in ("upstream.key_pair", "upstream.key_mode"):
        assert "broken" == reports[code].state
    assert "No such file or directory: " in reports["upstream.key_mode"].evidence


def test_a_pair_in_the_settings_and_a_path_in_the_url(
    doctor: Doctor, upstream: FakeUpstream
) -> None:
    """Both work, and both are warned of."""
    pair = {"credentials_dir": None, "api_key": API_KEY, "secret_key": SECRET_KEY}
    found = not_well(doctor(pair | {"base_url": f"{upstream.url}/rest"}))
    assert {"warning"} == {found["upstream.key_pair"], found["upstream.url"]}


@pytest.mark.parametrize(
    ("hours_ago", "state"), [(0, "warning"), (100, "broken"), (-100, "broken")]
)
def test_certificates_that_end(hours_ago: int, state: str, doctor: Doctor, tmp_path: Path) -> None:
    """An hour is few days; one that ended or has not begun is broken; the CA's are seen too."""
    authority = Authority()
    files = ServerFiles(tmp_path / "tls", authority)
    files.swap(authority.issue(dns=["localhost"], hours_ago=hours_ago))
    (files.directory / "tls.key").chmod(0o600)
    found = not_well(doctor(**files.settings()))
    assert {"tls.certificate": state, "tls.client_ca": "warning"} == found


def test_the_start_warns_of_a_certificate_near_its_end(
    server: ServerFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the setting's name."""
    server(**ServerFiles(tmp_path / "tls", Authority()).settings())
    told = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert ["tls_cert_file", "tls_client_ca_file"] == [line.partition(":")[0] for line in told]
    assert all("ends in 0 days" in line for line in told)


def test_the_start_warns_of_a_certificate_that_is_not_valid_yet(
    server: ServerFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the server's own; one behind it in the file may be for later."""
    authority = Authority()
    files = ServerFiles(tmp_path / "tls", authority)
    later = authority.issue(dns=["localhost"], hours_ago=-24)
    for first, told in (
        (later, ["tls_cert_file: a certificate is not valid before 0.9 days"]),
        (None, []),
    ):
        good = authority.issue(dns=["localhost"])
        shown = first or Issued(good.certificate + later.certificate, good.key, 0)
        files.swap(shown)
        caplog.clear()
        server(**files.settings(mutual=False))
        found = [one.message for one in caplog.records if "not valid before" in one.message]
        assert told == [line.partition(" from")[0] for line in found]


def test_days_are_those_that_a_library_reads(tmp_path: Path) -> None:
    """Our reader of dates agrees with cryptography's, and takes rubbish for no certificate."""
    pem = Authority().issue(dns=["localhost"]).certificate
    ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    days = (ends - datetime.datetime.now(datetime.UTC)).total_seconds() / 86400
    assert days_left(pem, time.time()) == pytest.approx(days, abs=1e-3)
    body = pem.splitlines()
    for cut in range(1, len(body)):
        found = days_left(b"\n".join([*body[:cut], body[-1]]), 0)
        assert found in (None, days_left(pem, 0))
    assert days_left(b"", 0) is None


def test_ports(doctor: Doctor, server: ServerFactory, upstream: FakeUpstream) -> None:
    """A stranger's is broken; the running service's are well, and its readiness is told."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = f"127.0.0.1:{stranger.getsockname()[1]}"
        report = doctor(listen=taken)["port.listen"]
    assert ("broken", True) == (report.state, "is taken" in report.evidence)
    only = {"base_url": upstream.url, "api_key": "the-api-key", "secret_key": "the-secret-key"}
    running = Server(
        Settings(
            listen="127.0.0.1:0",
            admin_listen="",
            metrics_listen="127.0.0.1:0",
            drain_delay_s=0,
            libraries={"default": only},
        ),
        with_admin=True,
    )
    try:
        running.start()
        ports = {
            "listen": f"127.0.0.1:{running.port}",
            "metrics_listen": f"127.0.0.1:{running.metrics_port}",
        }
        reports = doctor(**ports)
        assert {"ok"} == {
            reports[code].state for code in ("port.listen", "port.metrics_listen", "upstream.quota")
        }
        assert reports["replica.ready"].state in ("ok", "warning")
        assert "running service" in reports["upstream.quota"].evidence
    finally:
        running.stop()


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "mutual TLS"])
def test_our_own_service_on_the_port(
    tls: bool, doctor: Doctor, server: ServerFactory, tmp_path: Path
) -> None:
    """It is recognised without its metrics' port, by health or by its certificate; a stranger's
    server is not."""
    files = ServerFiles(tmp_path / "tls", Authority()).settings() if tls else {}
    ours = server(**files)
    at = {"listen": f"127.0.0.1:{ours.port}", "metrics_listen": ""}
    reports = doctor(**at, **files)
    assert ("ok", True) == (
        reports["port.listen"].state,
        "our own service listens there" in reports["port.listen"].evidence,
    )
    assert "ok" == reports["replica.ready"].state
    stranger = grpc.server(ThreadPoolExecutor(1))
    port = stranger.add_insecure_port("127.0.0.1:0")
    stranger.start()
    reports = doctor(**at | {"listen": f"127.0.0.1:{port}"}, **files)
    stranger.stop(None).wait()
    assert ("broken", "skipped") == (
        reports["port.listen"].state,
        reports["replica.ready"].state,
    )


def test_a_service_that_should_run(doctor: Doctor) -> None:
    """Where it is expected, that none runs is a warning; the last line counts what was skipped."""
    assert {"replica.ready": "warning"} == not_well(doctor(expect_running=True))
    reports = [*doctor().values()]
    skipped = sum(each.state == "skipped" for each in reports)
    assert skipped > 0
    assert finding.as_text(reports).splitlines()[-1].endswith(f", {skipped} skipped")


def test_wrong_settings_are_all_there_is_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line of them; exit 2."""
    file = tmp_path / "settings.toml"
    file.write_text("replicas = 0\n")
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", str(file))
    (report,) = command.diagnose(30)
    assert ("settings.read", "broken") == (report.code, report.state)
    wrong = [line for line in report.evidence.splitlines() if not line.startswith(" ")]
    assert ["libraries", "replicas"] == sorted(line.partition(":")[0] for line in wrong)
    assert 2 == finding.exit_code([report])


def test_a_check_that_fails_or_hangs_ends_alone() -> None:
    """Its class of exception is not told, what it waits for is; not to end is no sign of a fault.

    Exit 3: not all was found out; 2 if something is broken all the same.
    """

    def fails() -> finding.Finding:
        raise OSError("of the check's own making")

    async def hangs() -> finding.Finding:
        await asyncio.sleep(60)
        raise AssertionError

    def blocks() -> finding.Finding:
        time.sleep(60)
        raise AssertionError

    checks = [
        Check("a", fails),
        Check("b", hangs, waits_for="the moon"),
        Check("c", blocks, needs=("b",)),
        Check("d", blocks),
        Check("e", lambda: ok("well")),
    ]
    reports = finding.run(checks, Deadline.after(0.2))
    states = ["broken", "unknown", "skipped", "unknown", "ok"]
    assert states == [each.state for each in reports]
    assert (2, 3) == (finding.exit_code(reports), finding.exit_code(reports[1:]))
    assert "5 checks: 1 broken, 2 unknown, 0 with a warning, 1 skipped\n" in (
        finding.as_text(reports)
    )
    assert "look at the moon" in reports[1].remedy
    assert "did not end" in reports[1].evidence
    assert not re.search("Error|making", finding.as_text(reports))


@pytest.mark.parametrize(("text", "limit"), [("max", None), ("1048576", 1 << 20), (None, None)])
def test_the_memory_limit_of_a_container(
    text: str | None, limit: int | None, tmp_path: Path
) -> None:
    """As the kernel writes it."""
    if text is not None:
        (tmp_path / "memory.max").write_text(f"{text}\n")
    assert limit == memory_limit_bytes(tmp_path)


def test_the_page_has_each_code(doctor: Doctor) -> None:
    """And none that does not exist."""
    table = PAGE.read_text("utf-8").partition("### What the service's doctor checks")[2]
    told = re.findall(r"^\| `([a-z_.]+)` \|", table.partition("\n#")[0], re.MULTILINE)
    assert sorted([*doctor(), "images.fit"]) == sorted(told)


def test_the_audit_file(doctor: Doctor, tmp_path: Path) -> None:
    """A file that can be written is well; one of another service's, or in no folder, is broken."""
    path = tmp_path / "audit.jsonl"
    assert "audit.file" not in not_well(doctor(audit_file=path))
    audit = Audit(path)
    found = not_well(doctor(audit_file=path))
    audit.close()
    assert "broken" == found["audit.file"]
    assert "audit.file" not in not_well(doctor(audit_file=path))
    path.chmod(0o644)
    assert "warning" == not_well(doctor(audit_file=path))["audit.file"]


def test_the_collector_of_traces(doctor: Doctor) -> None:
    """One that takes spans is well; one that is gone or answers otherwise loses them."""
    assert "skipped" == doctor()["traces.collector"].state
    with Collector() as collector:
        assert "ok" == doctor(traces_endpoint=collector.url)["traces.collector"].state
        assert not collector.spans()
    report = doctor(traces_endpoint=collector.url, limit_s=1.5)["traces.collector"]
    told = f"{collector.url} does not answer; spans are lost"
    assert ("warning", True) == (report.state, told in report.evidence)
    with Refusing() as url:
        report = doctor(traces_endpoint=url)["traces.collector"]
    assert ("warning", True) == (report.state, f"{url} answered 404" in report.evidence)


@pytest.mark.usefixtures("short_sign")
def test_a_service_that_hangs_beside_the_doctor(doctor: Doctor) -> None:
    """It is told as that; a port that it has is not well, and nothing else is held up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reports = doctor(metrics_listen=f"127.0.0.1:{silent.getsockname()[1]}")
    assert "answers nothing" in reports["replica.ready"].evidence
    assert {"replica.ready": "broken", "port.metrics_listen": "broken"} == not_well(reports)


def test_a_service_that_is_slow_beside_the_doctor(doctor: Doctor) -> None:
    """What says nothing for less than that is not called broken, on whichever port it listens."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        found = not_well(doctor(metrics_listen=at, limit_s=0.8))
        assert {"replica.ready": "unknown", "port.metrics_listen": "unknown"} == found
        found = not_well(doctor(listen=at, limit_s=0.8))
        assert {"replica.ready": "unknown", "port.listen": "unknown"} == found


@pytest.mark.parametrize("program", ["productsearch_service", "productsearch_engine"])
@pytest.mark.parametrize("limit", ["nan", "inf", "0", "-1", "1e9", "soon"])
def test_a_limit_within_which_nothing_can_end(program: str, limit: str) -> None:
    """It is refused with what would be right."""
    done = subprocess.run(
        [sys.executable, "-m", program, "doctor", f"--limit={limit}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 2 == done.returncode
    assert f"argument --limit: must be 0.1 to 300 seconds, not '{limit}'" in done.stderr
