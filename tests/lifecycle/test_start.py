"""How a start ends that cannot succeed, and how one goes as the first process of a container."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.facade import Facade
from tests.fakes.upstream import FakeUpstream
from tests.identity.authority import Authority
from tests.lifecycle.asking import until, until_ready

PAIR = {
    "PRODUCTSEARCH_LIBRARIES__DEFAULT__API_KEY": "k",
    "PRODUCTSEARCH_LIBRARIES__DEFAULT__SECRET_KEY": "s",
}
QUICK = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0", "PRODUCTSEARCH_DRAIN_GRACE_S": "1"}


def start(folder: Path, **settings: str | Path) -> tuple[int, list[str]]:
    """Start with these settings; return the exit code and what was said, without the folder."""
    named = {f"PRODUCTSEARCH_{name.upper()}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "productsearch_service"],
        env=os.environ | PAIR | named,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "" == done.stdout
    # grpc's own lines about a port begin with the level and the date.
    said = done.stderr.replace(str(folder), "DIR").splitlines()
    return done.returncode, said[said.index("productsearch-service cannot start:") + 1 :]


def placed(line: str) -> str:
    """Return a line with the variable that its setting comes from."""
    name = re.split(r"[:.,]", line)[0].upper()
    return f"{line} (PRODUCTSEARCH_{name})"


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    """Return a folder with good and bad certificate files."""
    authority = Authority()
    one, two = authority.issue(dns=["localhost"]), authority.issue(dns=["localhost"])
    (tmp_path / "one.crt").write_bytes(one.certificate)
    (tmp_path / "one.key").write_bytes(one.key)
    (tmp_path / "two.key").write_bytes(two.key)
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    (tmp_path / "not.pem").write_text("not a certificate")
    return tmp_path


def test_everything_that_is_wrong_is_told_at_once(tls: Path) -> None:
    """Addresses, certificates, policy, networks and numbers: a line for each."""
    (tls / "policy.toml").write_text('[[rules]]\ncallers = ["a"]\nmethods = ["Find", "Add"]\n')
    code, said = start(
        tls,
        admin_listen="nowhere",
        tls_cert_file=tls / "one.crt",
        tls_key_file=tls / "two.key",
        tls_client_ca_file=tls / "not.pem",
        policy_file=tls / "policy.toml",
        sidecars='["10.0.0.1/8"]',
        drain_delay_s="-1",
        default_library="shoes",
    )
    methods = "AddImage, SearchImages, UpdateImage, DeleteImage, BatchDeleteImages, BulkAddImages"
    assert 2 == code
    assert [
        *map(
            placed,
            [
                "default_library: must be one of libraries, not 'shoes'",
                "admin_listen: must be host:port, not 'nowhere'",
                "tls_key_file: DIR/two.key: is not the key of DIR/one.crt",
                "tls_client_ca_file: DIR/not.pem: holds no PEM certificates of a CA",
                "sidecars, entry 1: must be an IP network without host bits, such as 10.0.0.0/8, "
                "not '10.0.0.1/8'",
                f"policy_file: DIR/policy.toml: rule 1: methods: 'Find' is none of {methods}",
                f"policy_file: DIR/policy.toml: rule 1: methods: 'Add' is none of {methods}",
                "drain_delay_s: must be 0 or more, not '-1'",
            ],
        )
    ] == said


WRONG_TLS = {
    "a certificate without its key": (
        {"tls_cert_file": "one.crt"},
        "tls_key_file: set tls_cert_file and tls_key_file together, or neither",
    ),
    "a key without its certificate": (
        {"tls_key_file": "one.key"},
        "tls_key_file: set tls_cert_file and tls_key_file together, or neither",
    ),
    "a CA without a certificate": (
        {"tls_client_ca_file": "ca.crt"},
        "tls_client_ca_file: needs tls_cert_file and tls_key_file",
    ),
    "no such file": (
        {"tls_cert_file": "no.crt", "tls_key_file": "one.key"},
        "tls_cert_file: DIR/no.crt: No such file or directory",
    ),
    "no certificate": (
        {"tls_cert_file": "not.pem", "tls_key_file": "one.key"},
        "tls_cert_file: DIR/not.pem: holds no PEM certificate",
    ),
}


@pytest.mark.parametrize(("named", "says"), WRONG_TLS.values(), ids=WRONG_TLS)
def test_certificate_files_that_cannot_be_used(tls: Path, named: dict[str, str], says: str) -> None:
    """The line names the setting, the file, and what would be right."""
    told = placed(says) if says.partition(":")[0] in named else says
    assert (2, [told]) == start(tls, **{name: tls / file for name, file in named.items()})


def test_every_port_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """All three at once: two are taken, one is no address of this machine."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        service, metrics = one.getsockname()[1], two.getsockname()[1]
        code, said = start(
            tmp_path,
            listen=f"127.0.0.1:{service}",
            admin_listen="192.0.2.1:50052",
            metrics_listen=f"127.0.0.1:{metrics}",
        )
    assert 2 == code
    taken = "is taken; end the program that listens there, or give another address"
    assert [
        f"listen: 127.0.0.1:{service} {taken}",
        "admin_listen: 192.0.2.1:50052 is no address of this machine; give another address",
        f"metrics_listen: 127.0.0.1:{metrics} {taken}",
    ] == said


def test_mutual_tls_opens_the_network(tls: Path, upstream: FakeUpstream) -> None:
    """With the callers' CA, or with a policy, the service may listen beyond this machine."""
    good = {
        "PRODUCTSEARCH_TLS_CERT_FILE": str(tls / "one.crt"),
        "PRODUCTSEARCH_TLS_KEY_FILE": str(tls / "one.key"),
        "PRODUCTSEARCH_TLS_CLIENT_CA_FILE": str(tls / "ca.crt"),
    }
    pair = {"default": ("k", "s")}
    with Facade(
        tls / "data", upstream.url, pair, listen="0.0.0.0:0", environment=QUICK | good
    ) as process:
        assert process.url.startswith("0.0.0.0:")
    without_ca = {name.removeprefix("PRODUCTSEARCH_").lower(): path for name, path in good.items()}
    del without_ca["tls_client_ca_file"]
    code, (said,) = start(tls, listen="0.0.0.0:0", **without_ca)
    assert (2, True) == (code, "nobody is asked who calls" in said)


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_while_it_is_loaded_ends_no_service_halfway(
    number: str, upstream: FakeUpstream
) -> None:
    """It waits until somebody takes it: no traceback, and SIGHUP changes nothing."""
    script = (
        "import os, signal, sys\n"
        "came = []\n"
        "class Loading:\n"
        "    def find_spec(self, name, *_):\n"
        "        sent = {'productsearch_service.cli': NUMBER, 'uvloop': signal.SIGTERM}.get(name)\n"
        "        if sent and name not in came:\n"
        "            came.append(name)\n"
        "            os.kill(os.getpid(), sent)\n"
        "sys.meta_path.insert(0, Loading())\n"
        "sys.argv = ['productsearch-service']\n"
        "from productsearch_service.__main__ import main\n"
        "main()\n"
    ).replace("NUMBER", f"signal.{number}")
    done = _run(script, upstream)
    assert (0, True) == (done.returncode, "stopped" in done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_a_signal_while_it_starts_stops_it(upstream: FakeUpstream) -> None:
    """Signals are taken before anything else is loaded: a SIGTERM then is a stop, exit code 0."""
    script = (
        "import os, signal, sys\n"
        "import productsearch_service.cli as service\n"
        "assert 'grpc' not in sys.modules\n"
        "taken = signal.signal\n"
        "def signalled(number, handler):\n"
        "    taken(number, handler)\n"
        "    if number == signal.SIGTERM: os.kill(os.getpid(), number)\n"
        "signal.signal = signalled\n"
        "sys.argv = ['productsearch-service']\n"
        "service.main()\n"
    )
    done = _run(script, upstream)
    assert (0, True) == (done.returncode, "stopped" in done.stderr), done.stderr


def _run(script: str, upstream: FakeUpstream) -> subprocess.CompletedProcess[str]:
    environment = {
        "PRODUCTSEARCH_LISTEN": "127.0.0.1:0",
        "PRODUCTSEARCH_ADMIN_LISTEN": "",
        "PRODUCTSEARCH_METRICS_LISTEN": "",
        "PRODUCTSEARCH_LIBRARIES__DEFAULT__BASE_URL": upstream.url,
    }
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | PAIR | QUICK | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def first_process(upstream: FakeUpstream, tmp_path: Path) -> Iterator[Facade]:
    """Return a service that is process 1 of its own process namespace, with a child it inherits."""
    unshare = shutil.which("unshare")
    can = unshare and subprocess.run([unshare, "--pid", "--fork", "true"], check=False)
    if not can or can.returncode:
        pytest.skip("needs `unshare` and the right to make a process namespace")
    facade = Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=QUICK)
    # The shell becomes the service by `exec`; what it started before is then the service's child.
    facade.run_by(
        "unshare", "--pid", "--fork", "--kill-child", "sh", "-c", 'sleep 1 & exec "$@"', "sh"
    )
    with facade:
        until_ready(facade)
        yield facade


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def test_as_the_first_process_it_stops_and_leaves_no_zombies(first_process: Facade) -> None:
    """Process 1 gets no default handling of signals, and must bury the children it inherits."""
    (pid,) = _children(first_process.pid)
    until(lambda: _children(pid) == [], "the child that it inherited is buried")
    os.kill(pid, signal.SIGTERM)
    assert 0 == first_process.wait()
    assert "stopped" in first_process.log()
