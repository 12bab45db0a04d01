"""Checks of the machine and of this installation: versions, ports, memory, ``fit``, the replica."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import stat
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from productsearch_service import limits
from productsearch_service.audit import writer_of
from productsearch_service.call_context import Deadline
from productsearch_service.server.doctor.finding import (
    Check,
    Finding,
    broken,
    ok,
    silent,
    skipped,
    warning,
)
from productsearch_service.server.doctor.image import PNG
from productsearch_service.server.doctor.replica import Beside, Silent, status_at
from productsearch_service.server.listen import bind_error, why_not
from productsearch_service.server.memory_bounds import search_caches_bytes, worst_mib
from productsearch_service.settings import Settings
from productsearch_service.settings_values import host_and_port

_MIB: Final = 1 << 20
_AUDIT_MIB: Final = 1024
"""Room for some millions of lines."""
_LIMIT_FILES: Final = ("memory.max", "memory/memory.limit_in_bytes")
_NO_LIMIT_BYTES: Final = 1 << 50
_DESCRIPTORS_KEPT: Final = 256
"""For connections to the upstream, files, and the processes of ``fit``."""


def checks(settings: Settings, replica: Beside, waits: Deadline, *, expected: bool) -> list[Check]:
    """Return the checks that are not of one library.

    The collector of traces has until ``waits``. ``expected``: a service should run here.
    """
    ports = ("listen", "admin_listen", "metrics_listen")
    return [
        Check("install.versions", _versions),
        Check(
            "replica.ready",
            partial(_ready, settings, replica, waits, expected=expected),
            waits_for="the service that listens at metrics_listen",
        ),
        *(
            Check(
                f"port.{name}",
                partial(_port, name, settings, replica, waits),
                waits_for=f"what listens at {name}",
            )
            for name in ports
        ),
        Check("machine.memory", partial(_memory, settings)),
        Check("machine.descriptors", partial(_descriptors, settings)),
        Check("images.fit", _fit, waits_for="the processes that the service may start"),
        Check("audit.file", partial(_audit_file, settings.audit_file, replica)),
        Check(
            "traces.collector",
            partial(_collector, settings.traces_endpoint, waits),
            waits_for="the collector at traces_endpoint",
        ),
    ]


def _collector(endpoint: str, waits: Deadline) -> Finding:
    if not endpoint:
        return skipped("traces_endpoint is not set")
    from productsearch_service.observability.traces import why_not_taken  # needs the extra

    limit_s = waits.remaining_s()
    if why_not := why_not_taken(endpoint, limit_s):
        told = f"{why_not}; spans are lost, and calls are served all the same"
        found = warning(told, "start the collector, or correct traces_endpoint")
        is_late = waits.remaining_s() <= 0
        return silent(limit_s, "the collector at traces_endpoint", found) if is_late else found
    return ok("the collector takes spans")


def _audit_file(path: Path | None, replica: Beside) -> Finding:
    if path is None:
        return skipped("audit_file is not set")
    at = path if path.exists() else path.parent
    if path.is_dir() or not path.parent.is_dir() or not os.access(at, os.W_OK):
        return broken(f"{path} cannot be written", "name a file in a folder that can be written")
    writer = writer_of(path)
    if writer and replica() is None:
        told = f"{path} is written by process {writer}, which is no service of these settings"
        return broken(told, "give each service an audit_file of its own")
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        return warning(f"{path} can be read by other accounts", f"chmod 600 {path}")
    free_mib = shutil.disk_usage(path.parent).free // _MIB
    if free_mib < _AUDIT_MIB:
        return warning(f"{path} has room for {free_mib} MiB", "make room, or rotate the file")
    told = f"process {writer} writes it" if writer else "nobody writes it now"
    return ok(f"{path} has room for {free_mib} MiB; {told}")


def _versions() -> Finding:
    ours = {name: version(f"productsearch-{name}") for name in ("service", "client")}
    told = ", ".join(f"{name} {number}" for name, number in ours.items())
    told += f", grpcio {version('grpcio')}, Python {platform.python_version()}"
    if len({*ours.values()}) > 1:
        return warning(told, "install the client of the service's version")
    return ok(told)


def _ready(settings: Settings, beside: Beside, waits: Deadline, *, expected: bool) -> Finding:
    replica = beside()
    if replica is None:
        return _answering(settings, waits, expected=expected)
    if replica.silent_s:
        hangs = broken(
            "what listens at metrics_listen accepts connections and answers nothing",
            "look at what its process waits for, and end it: SIGTERM, then SIGKILL",
        )
        return silent(replica.silent_s, "what listens at metrics_listen", hangs)
    if replica.not_ready:
        told = "; ".join(replica.not_ready.splitlines())
        return warning(f"a service runs here and is not ready: {told}", "mend what it names")
    return ok("a service runs here and is ready")


def _answering(settings: Settings, waits: Deadline, *, expected: bool) -> Finding:
    """Return what a service says at ``listen``, where none told more."""
    status, waited_s = "", 0.0
    try:
        status = status_at(settings.listen, waits, settings.tls_cert_file)
    except Silent as error:
        waited_s = error.waited_s
    if status == "SERVING":
        return ok(f"a service runs here: it answers at {settings.listen}")
    remedy = "start it, or see its last lines"
    if status:
        return warning(f"a service runs here and says {status}", remedy)
    told = f"no service answers at {settings.metrics_listen or settings.listen}"
    found = warning(told, remedy)
    if not expected:
        found = skipped(f"{told}; with --expect-running that is a warning")
    return silent(waited_s, "what listens at listen", found) if waited_s else found


def _port(name: str, settings: Settings, beside: Beside, waits: Deadline) -> Finding:
    address = getattr(settings, name)
    if not address:
        return skipped(f"{name} is empty")
    host_and_port(address)
    wrong = bind_error(address)
    if wrong is None:
        return ok(f"{address} is free")
    replica = beside()
    if replica is not None and not replica.silent_s:
        return ok(f"{address} is the running service's")
    taken = broken(
        f"{name}: {address} {why_not(address, wrong)}",
        f"end what has it, or choose another {name}",
    )
    waits_for = f"what listens at {name}"
    if name == "metrics_listen":
        return taken if replica is None else silent(replica.silent_s, waits_for, taken)
    certificate = settings.tls_cert_file if name == "listen" else None
    try:
        status = status_at(address, waits, certificate)
    except Silent as error:
        return silent(error.waited_s, waits_for, taken)
    return ok(f"{address} is taken: our own service listens there") if status else taken


def _memory(settings: Settings) -> Finding:
    caches_bytes = search_caches_bytes(settings.libraries.values())
    needed = sum(worst_mib(settings.connections_max, caches_bytes).values())
    limit = memory_limit_bytes()
    if limit is None:
        return ok(f"no limit is set; at its bounds the service takes {needed} MiB")
    told = f"the limit is {limit // _MIB} MiB, at its bounds the service takes {needed} MiB"
    if limit < needed * _MIB:
        return warning(told, "raise the memory limit, or the kernel may end the service under load")
    return ok(told)


def memory_limit_bytes(top: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the memory limit of this container; None if there is none."""
    for name in _LIMIT_FILES:
        try:
            limit = int((top / name).read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
        return limit if limit < _NO_LIMIT_BYTES else None
    return None


def _descriptors(settings: Settings) -> Finding:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = settings.connections_max + limits.ADMIN_CONNECTIONS_MAX + _DESCRIPTORS_KEPT
    told = f"{most} file descriptors are allowed, connections_max and the rest need {needed}"
    if most != resource.RLIM_INFINITY and most < needed:
        return warning(told, f"allow {needed} (ulimit -n), or lower connections_max")
    return ok(told)


async def _fit() -> Finding:
    from productsearch_service.errors import ServiceError
    from productsearch_service.images.form_encoding import FormEncoder
    from productsearch_service.images.inspect import SizeInvalid, Unreadable

    encoder = FormEncoder()
    try:
        parts = await encoder.form_value(PNG, fits=True)
    except (ServiceError, SizeInvalid, Unreadable) as error:
        return broken(
            f"the built-in image could not be fitted: {error}",
            "let the service start processes of its own, or callers cannot use fit",
        )
    finally:
        encoder.close()
    return ok(f"the built-in image was fitted in a process of its own, {sum(map(len, parts))} B")
