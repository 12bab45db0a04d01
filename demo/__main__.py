"""``python -m demo tour`` shows everything once; ``python -m demo run`` keeps it up."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import shlex
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from demo import contact_sheet, examples, products, session, stock
from demo.facade import Facade
from demo.processes import Engine, ServerError
from demo.tour import Tour, TourError
from productsearch import v1

_LIBRARY = "default"
_PERSON = "demo"
_NOBODY_BALANCES = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0"}
_HOST = "127.0.0.1"
_FIRST_PORT_MAX = 65532
_ANOTHER = ".venv/bin/python -m demo run --port 0"
_HOW_TO = """
ProductSearch is up: facade {facade}, engine {engine}.
{stored}
See and search them at {engine}/console/ : sign in as {name}, password {password}
Paste into another terminal, in this folder:

{examples}
== Your own images: give your folder, then a photo ==
.venv/bin/productsearch import FOLDER --fit{flag}
.venv/bin/productsearch search PHOTO{flag}

Health is at {admin} (gRPC), metrics are at http://{metrics}/metrics.
After `. {data}/env` in a shell the commands of servers and client are about these: try
.venv/bin/productsearch-service doctor
Images and keys are kept in {data}. Stop with Ctrl-C.
"""


@dataclass(frozen=True)
class Ports:
    """Where ``run`` listens; 0: a free port."""

    facade: int = 50051
    health: int = 50052
    metrics: int = 9464
    engine: int = 8190

    @classmethod
    def beginning_at(cls, first: int | None) -> Ports:
        """Return the usual ports (None), free ones (0), or ``first`` and the three after it."""
        if first is None:
            return cls()
        return cls(*([0] * 4 if first == 0 else range(first, first + 4)))


def main() -> int:
    """Run a command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    tour = commands.add_parser("tour", help="show every RPC once on real images")
    tour.add_argument(
        "--photos",
        type=Path,
        help="a folder of images; default: drawn ones. " + products.understood(),
    )
    tour.add_argument("--out", type=Path, default=Path("build/demo"))
    run = commands.add_parser("run", help="keep engine and facade up")
    run.add_argument(
        "--data",
        type=Path,
        default=Path(".run"),
        help="folder that keeps images, keys and settings for the next run; each run needs its own "
        "(default: %(default)s)",
    )
    usual = Ports()
    run.add_argument(
        "--port",
        type=_first_port,
        metavar="PORT",
        help="the facade's port, of which health, metrics and engine take the next three; 0: free "
        f"ones (default: {usual.facade}, {usual.health}, {usual.metrics}, {usual.engine})",
    )
    commands.add_parser("session", help="record the sessions of the documents anew")
    arguments = parser.parse_args()
    try:
        if arguments.command == "run":
            return _run(arguments.data, Ports.beginning_at(arguments.port))
        if arguments.command == "session":
            return _sessions()
        return _tour(arguments.photos, arguments.out)
    except (ServerError, TourError, ValueError, OSError) as error:
        print(f"demo {arguments.command} ends here: {error}", file=sys.stderr)
        return 1


def _tour(photos: Path | None, out: Path) -> int:
    shown = products.from_folder(photos) if photos else products.drawn()
    print("productsearch: engine (PostgreSQL + pgvector) <- REST - facade <- gRPC - this tour\n")
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="productsearch-demo-") as scratch:
        folder = Path(scratch)
        with Engine(folder / "engine") as engine:
            pair = engine.create_library(_LIBRARY)
            with (
                Facade(
                    folder / "service",
                    engine.url,
                    {_LIBRARY: pair},
                    environment=_NOBODY_BALANCES,
                ) as facade,
                v1.connect(facade.url) as channel,
            ):
                print(f"  started            in {time.monotonic() - began_s:.1f} s")
                figures = Tour(v1.ProductSearchStub(channel), shown).walk()
    sheet = out / "contact-sheet.png"
    contact_sheet.write([(each.meaning, each.rows) for each in figures], sheet)
    for each in figures:
        print(
            f"\n  {each.searches} searches for {each.meaning}:"
            f"\n    the first hit is right         {_share(each.first_is_right, each.searches)}"
            f"\n    one of the hits shown is right "
            f"{_share(each.one_of_shown_is_right, each.searches)}"
        )
    print(
        f"\n  searches and hits side by side: {sheet}"
        f"\n  everything worked, in {time.monotonic() - began_s:.1f} s"
    )
    return 0


def _share(part: int, whole: int) -> str:
    return f"{part:4} of {whole} ({100 * part / whole:.1f} %)"


def _run(data: Path, ports: Ports) -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with _owned(data):
        _need_free(ports)
        _keep_up(data, stop, ports)
    return 0


def _keep_up(data: Path, stop: threading.Event, ports: Ports) -> None:
    print("Starting the engine and the facade ...", flush=True)
    with Engine(data / "engine", listen=f"{_HOST}:{ports.engine}") as engine:
        pair = _kept_pair(engine, data / "key-pair.json")
        name, password = _kept_sign_in(engine, data / "console-sign-in.json")
        with Facade(
            data / "service",
            engine.url,
            {_LIBRARY: pair},
            listen=f"{_HOST}:{ports.facade}",
            admin_listen=f"{_HOST}:{ports.health}",
            metrics_listen=f"{_HOST}:{ports.metrics}",
            environment=_NOBODY_BALANCES | {"PRODUCTSEARCH_REFLECTION": "true"},
        ) as facade:
            facade.write_ports()
            _write_environment(data / "env", engine, facade)
            print("Adding the demo's products ...", flush=True)
            products_there = stock.written(data)
            how_to = _HOW_TO.format(
                facade=facade.url,
                admin=facade.admin,
                metrics=facade.metrics,
                engine=engine.url,
                name=name,
                password=password,
                data=data,
                stored=stock.imported(products_there, facade.url),
                examples=examples.text(products_there, facade.url),
                flag=examples.target_flag(facade.url),
            )
            print(how_to, flush=True)
            stop.wait()


@contextlib.contextmanager
def _owned(data: Path) -> Iterator[None]:
    """Keep a folder to this run: a second one would write over its settings. Raises ServerError."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(
                f"another run is up over {data}; give this one a folder and ports of its own: "
                f"`{_ANOTHER} --data {data / 'second'}`"
            ) from None
        yield


def _first_port(text: str) -> int:
    """Return a port that leaves room for the three after it."""
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port <= _FIRST_PORT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 0 to {_FIRST_PORT_MAX}")
    return port


def _need_free(ports: Ports) -> None:
    """Raise ServerError, with what to do, if somebody listens at one of the ports."""
    for port in astuple(ports):
        with socket.socket() as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                own.bind((_HOST, port))
            except OSError as error:
                raise ServerError(
                    f"port {port} of {_HOST} is taken ({error.strerror}); end what listens there, "
                    "or take others: `make run PORT=50100` takes that one and the next three, "
                    "`make run PORT=0` free ones"
                ) from None


def _sessions() -> int:
    with Engine() as engine:
        for number, file in enumerate(session.SESSIONS):
            pair = engine.create_library(f"session-{number}")
            with tempfile.TemporaryDirectory(prefix="productsearch-session-") as scratch:
                folder = Path(scratch) / "shop"
                folder.mkdir()
                with Facade(
                    Path(scratch) / "service",
                    engine.url,
                    {_LIBRARY: pair},
                    environment=_NOBODY_BALANCES,
                ) as facade:
                    session.write(file, session.recorded(file, folder, facade.url))
            print(f"recorded the session in {file}")
    return 0


def _write_environment(file: Path, engine: Engine, facade: Facade) -> None:
    """Write what a shell reads so that the commands of servers and client are about these two."""
    told = {
        "PRODUCTSEARCH_SETTINGS": facade.settings,
        "PRODUCTSEARCH_ENGINE_DATA": engine.data.resolve(),
        "PRODUCTSEARCH_ENGINE_LISTEN": urlsplit(engine.url).netloc,
        "PRODUCTSEARCH_CLI_TARGET": facade.url,
    }
    lines = [f"export {name}={shlex.quote(str(value))}\n" for name, value in told.items()]
    file.write_text("".join(lines), "utf-8")


def _kept_pair(engine: Engine, file: Path) -> tuple[str, str]:
    """Return the library's key pair; it is shown once, at creation, so it is kept."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(json.dumps(engine.create_library(_LIBRARY)))
    api_key, secret_key = json.loads(file.read_text())
    return api_key, secret_key


def _kept_sign_in(engine: Engine, file: Path) -> tuple[str, str]:
    """Return the console's sign-in; the password is shown once, at creation, so it is kept."""
    if not file.exists():
        user = ("user", "add", _PERSON, "--library", _LIBRARY, "--role", "edit")
        password = engine.command(*user).partition("password    ")[2].partition("\n")[0]
        file.touch(mode=0o600)
        file.write_text(json.dumps([_PERSON, password]))
    name, password = json.loads(file.read_text())
    return name, password


if __name__ == "__main__":
    sys.exit(main())
