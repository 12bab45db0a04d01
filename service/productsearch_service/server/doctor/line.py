"""Checks of the way to one library's upstream: its name, a connection, TLS, and its clock.

Each has a connection of its own, so that one that hangs hides no other.
"""

from __future__ import annotations

import email.utils
import socket
import ssl
import time
from contextlib import ExitStack, suppress
from http.client import HTTPException, HTTPResponse
from threading import Event, Timer
from typing import Final
from urllib.parse import urlsplit

import certifi

from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.server.doctor.finding import (
    Finding,
    broken,
    left_s,
    ok,
    silent,
    skipped,
    warning,
)
from productsearch_service.settings_library import LibrarySettings

PLACE: Final = "the upstream, and what is between it and this machine"
_SKEW_S: Final = 60.0
_DAY_S: Final = 86_400


def _place(library: LibrarySettings) -> tuple[str, int, bool]:
    parts = urlsplit(library.base_url)
    https = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if https else 80), https


def resolve(library: LibrarySettings) -> Finding:
    host, port, _ = _place(library)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        remedy = "correct base_url, or the name server that this machine asks"
        return broken(f"{host} has no address: {error.strerror}", remedy)
    return ok(f"{host} is {', '.join(dict.fromkeys(str(each[4][0]) for each in found))}")


def _connection(library: LibrarySettings, waits: Deadline) -> socket.socket:
    host, port, _ = _place(library)
    return socket.create_connection((host, port), left_s(waits))


def connect(library: LibrarySettings, waits: Deadline) -> Finding:
    host, port, _ = _place(library)
    limit_s = left_s(waits)
    try:
        with _connection(library, waits) as line:
            return ok(f"{line.getpeername()[0]} port {port} accepts connections")
    except OSError as error:
        found = broken(
            f"no connection to {host} port {port}: {error.strerror or 'no answer'}",
            "see that the upstream runs, and that firewall and network policy let this pass",
        )
        return silent(limit_s, PLACE, found) if isinstance(error, TimeoutError) else found


def _trusting(library: LibrarySettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(library.ca_bundle or certifi.where()))


def tls(library: LibrarySettings, waits: Deadline) -> Finding:
    host, _, https = _place(library)
    if not https:
        return ok("plain http, to this machine only")
    limit_s = left_s(waits)
    try:
        with (
            _connection(library, waits) as line,
            _trusting(library).wrap_socket(line, server_hostname=host) as secure,
        ):
            ends_s = ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"]))
            told = f"{secure.version()}, its certificate is trusted"
    except ssl.SSLCertVerificationError as error:
        return broken(
            f"its certificate is not trusted: {error.verify_message}",
            "correct base_url, set ca_bundle, or have the upstream's certificate replaced",
        )
    except OSError as error:
        found = broken(f"TLS failed: {error.strerror or 'no answer'}", "see what answers there")
        return silent(limit_s, PLACE, found) if isinstance(error, TimeoutError) else found
    days = (ends_s - time.time()) / _DAY_S
    if days < limits.CERTIFICATE_DAYS_FEW:
        remedy = "have the upstream's certificate replaced"
        return warning(f"{told}; it ends in {days:.0f} days", remedy)
    return ok(f"{told} for {days:.0f} days more")


def clock(library: LibrarySettings, waits: Deadline) -> Finding:
    began_s = time.monotonic()
    try:
        told = _date_of_answer(library, waits)
    except TimeoutError:
        took_s = time.monotonic() - began_s
        told = f"the upstream accepts connections and answers nothing within {took_s:.1f} s"
        remedy = "look at its process; of an engine, `productsearch-engine doctor` there"
        return silent(took_s, PLACE, broken(f"{told}: it hangs", remedy))
    except (OSError, HTTPException):
        return broken("the upstream does not answer HTTP", "see what answers at base_url")
    if told is None:
        return skipped("the upstream does not say what time it is")
    skew_s = time.time() - email.utils.parsedate_to_datetime(told).timestamp()
    if abs(skew_s) > _SKEW_S:
        return warning(
            f"this machine's clock is {abs(skew_s):.0f} s {'ahead' if skew_s > 0 else 'behind'}",
            "have the clock set (NTP): certificates depend on it",
        )
    return ok(f"it differs from the upstream's by {abs(skew_s):.0f} s")


def _date_of_answer(library: LibrarySettings, waits: Deadline) -> str | None:
    """Return what the upstream says that the time is; raise TimeoutError if it is too slow.

    The connection is cut at the deadline: one that sends a byte now and then is never late.
    """
    host, _, https = _place(library)
    is_cut = Event()
    with ExitStack() as stack:
        line = stack.enter_context(_connection(library, waits))
        if https:
            line = stack.enter_context(_trusting(library).wrap_socket(line, server_hostname=host))
        cut = Timer(left_s(waits), _cut, [line, is_cut])
        cut.daemon = True
        stack.callback(cut.cancel)
        cut.start()
        try:
            line.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = stack.enter_context(HTTPResponse(line, method="HEAD"))
            answer.begin()
            return answer.getheader("Date")
        except (OSError, HTTPException):
            if is_cut.is_set():
                raise TimeoutError from None
            raise


def _cut(line: socket.socket, is_cut: Event) -> None:
    is_cut.set()
    with suppress(OSError):  # it has ended by itself
        line.shutdown(socket.SHUT_RDWR)
