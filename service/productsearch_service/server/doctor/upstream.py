"""Checks of one library's upstream: its name, its address, TLS, its clock, token, search, quota.

Each is made by itself and over a connection of its own, so that one that hangs hides no other.
"""

from __future__ import annotations

import email.utils
import http.client
import socket
import ssl
import time
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import certifi

from productsearch_service import limits
from productsearch_service.call_context import CallContext, Caller, Deadline
from productsearch_service.counters import Counters
from productsearch_service.errors import ImageUnreadable, QuotaExhausted, RateLimited, ServiceError
from productsearch_service.images import form_encoding
from productsearch_service.library.commands import Image, Search
from productsearch_service.server import key_pairs
from productsearch_service.server.doctor.callers import closed_to_others
from productsearch_service.server.doctor.finding import (
    Check,
    Finding,
    State,
    Work,
    broken,
    ok,
    skipped,
    warning,
)
from productsearch_service.server.doctor.image import PNG
from productsearch_service.server.doctor.replica import Replica
from productsearch_service.server.libraries import build_library, credentials_of
from productsearch_service.settings import LibrarySettings, Settings
from productsearch_service.upstream.auth.issuer import TokenIssuer

_SKEW_S: Final = 60.0
_DAY_S: Final = 86_400


def checks(settings: Settings, replica: Replica | None, wait_s: float) -> list[Check]:
    """Return the checks of each library; connections and the search have ``wait_s``."""
    made = []
    for name, library in settings.libraries.items():
        works: dict[str, Work] = {
            "upstream.url": partial(_url, library),
            "upstream.key_pair": partial(_key_pair, library),
            "upstream.key_end": partial(_key_end, library),
            "upstream.key_mode": partial(_key_mode, library.credentials_dir),
            "upstream.resolve": partial(_resolve, library),
            "upstream.connect": partial(_connect, library, wait_s),
            "upstream.tls": partial(_tls, library, wait_s),
            "upstream.clock": partial(_clock, library, wait_s),
            "upstream.token": partial(_token, library),
            "upstream.search": partial(_search, settings, library, name, wait_s),
            "upstream.quota": partial(_quota, settings, library, name, replica),
        }
        needs = {
            "upstream.connect": ("upstream.resolve",),
            "upstream.tls": ("upstream.connect",),
            "upstream.clock": ("upstream.connect", "upstream.tls"),
            "upstream.search": ("upstream.token",),
        }
        made += [Check(code, work, name, needs.get(code, ())) for code, work in works.items()]
    return made


def _url(library: LibrarySettings) -> Finding:
    parts = urlsplit(library.base_url)
    if parts.path.strip("/"):
        return warning(
            f"{library.base_url} has a path, which is put before the upstream's own",
            "leave it out, unless a proxy in front of the upstream wants it",
        )
    return ok(f"{library.base_url}, {library.upstream}")


def _key_pair(library: LibrarySettings) -> Finding:
    try:
        credentials_of(library).read()
    except ServiceError as error:
        remedy = f"put the files api_key and secret_key into {library.credentials_dir}"
        return broken(error.message, remedy)
    if library.credentials_dir is None:
        return warning(
            "the key pair is in the settings or the environment, where it cannot be replaced",
            "put it into files and set credentials_dir",
        )
    return ok(f"{library.credentials_dir} holds a pair")


def _key_end(library: LibrarySettings) -> Finding:
    age, left = key_pairs.age_days(library), key_pairs.days_left(library)
    told = "its age is not known" if age is None else f"its files were written {age:.0f} days ago"
    if left is None:
        return ok(f"{told}; key_pair_ends is not set")
    if left < 0:
        remedy = "make a new key pair at the upstream, put it in place, and set its key_pair_ends"
        return broken(f"was to be used until {library.key_pair_ends}; {told}", remedy)
    if left < limits.CERTIFICATE_DAYS_FEW:
        remedy = "make a new key pair at the upstream and put it in place"
        return warning(f"ends in {left:.0f} days; {told}", remedy)
    return ok(f"ends in {left:.0f} days; {told}")


def _key_mode(directory: Path | None) -> Finding:
    if directory is None:
        return skipped("credentials_dir is not set")
    return max(
        (closed_to_others(directory / name) for name in ("api_key", "secret_key")),
        key=lambda found: found.state,
    )


def _place(library: LibrarySettings) -> tuple[str, int, bool]:
    parts = urlsplit(library.base_url)
    https = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if https else 80), https


def _resolve(library: LibrarySettings) -> Finding:
    host, port, _ = _place(library)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        remedy = "correct base_url, or the name server that this machine asks"
        return broken(f"{host} has no address: {error.strerror}", remedy)
    return ok(f"{host} is {', '.join(dict.fromkeys(str(each[4][0]) for each in found))}")


def _connect(library: LibrarySettings, wait_s: float) -> Finding:
    host, port, _ = _place(library)
    try:
        with socket.create_connection((host, port), wait_s) as line:
            return ok(f"{line.getpeername()[0]} port {port} accepts connections")
    except OSError as error:
        return broken(
            f"no connection to {host} port {port}: {error.strerror or 'no answer'}",
            "see that the upstream runs, and that firewall and network policy let this pass",
        )


def _trusting(library: LibrarySettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(library.ca_bundle or certifi.where()))


def _tls(library: LibrarySettings, wait_s: float) -> Finding:
    host, port, https = _place(library)
    if not https:
        return ok("plain http, to this machine only")
    try:
        with (
            socket.create_connection((host, port), wait_s) as line,
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
        return broken(f"TLS failed: {error.strerror or 'no answer'}", "see what answers there")
    days = (ends_s - time.time()) / _DAY_S
    if days < limits.CERTIFICATE_DAYS_FEW:
        remedy = "have the upstream's certificate replaced"
        return warning(f"{told}; it ends in {days:.0f} days", remedy)
    return ok(f"{told} for {days:.0f} days more")


def _clock(library: LibrarySettings, wait_s: float) -> Finding:
    host, port, https = _place(library)
    line = (
        http.client.HTTPSConnection(host, port, timeout=wait_s, context=_trusting(library))
        if https
        else http.client.HTTPConnection(host, port, timeout=wait_s)
    )
    try:
        line.request("HEAD", "/")
        told = line.getresponse().getheader("Date")
    except TimeoutError:
        told = f"the upstream accepts connections and answers nothing within {wait_s:g} s: it hangs"
        return broken(
            told, "look at its process; of an engine, `productsearch-engine doctor` there"
        )
    except (OSError, http.client.HTTPException):
        return broken("the upstream does not answer HTTP", "see what answers at base_url")
    finally:
        line.close()
    if told is None:
        return skipped("the upstream does not say what time it is")
    skew_s = time.time() - email.utils.parsedate_to_datetime(told).timestamp()
    if abs(skew_s) > _SKEW_S:
        return warning(
            f"this machine's clock is {abs(skew_s):.0f} s {'ahead' if skew_s > 0 else 'behind'}",
            "have the clock set (NTP): certificates depend on it",
        )
    return ok(f"it differs from the upstream's by {abs(skew_s):.0f} s")


async def _token(library: LibrarySettings) -> Finding:
    issuer = TokenIssuer(library.base_url, library.ca_bundle, credentials_of(library))
    try:
        issued = await issuer()
    except ServiceError as error:
        remedy = "correct the key pair: new files are in use within credentials_poll_s"
        if error.reason != "UPSTREAM_CREDENTIALS_REJECTED":
            remedy = "see that base_url leads to the upstream, and that it runs"
        return broken(error.message, remedy)
    finally:
        issuer.close()
    return ok(f"a token was received, good for {issued.expires_in_s / _DAY_S:.0f} days")


async def _search(
    settings: Settings, library: LibrarySettings, name: str, wait_s: float
) -> Finding:
    built = build_library(library, settings.replicas, Counters().library(name))
    value = (form_encoding.encode(PNG),)
    context = CallContext(Caller("doctor"), Deadline.after(wait_s))
    try:
        page = await built.search(Search(Image(form_value=value), 0, 1, b"doctor"), context)
    except ImageUnreadable:
        return ok("the upstream answers, and finds nothing in the built-in image")
    except ServiceError as error:
        state = State.BROKEN
        if isinstance(error, RateLimited | QuotaExhausted):
            state = State.WARNING
        told = f"{error.reason}: {error.message}"
        return Finding(state, told, "see this reason in docs/operating.md")
    finally:
        await built.close()
    return ok(f"answered with {len(page.hits)} results, log_id {page.log_id}")


def _quota(
    settings: Settings, library: LibrarySettings, name: str, replica: Replica | None
) -> Finding:
    own = library.quota_qps / settings.replicas * limits.QUOTA_SHARE
    told = f"{own:.2f} calls a second for this replica, of {library.quota_qps:g} in all"
    if not library.quota_qps:
        told = "no quota is set"
    if replica is None or replica.hangs:
        return ok(f"{told}; the upstream tells nobody how much of a day's quota is left")
    if replica.value("quota_exhausted", library=name):
        return broken(f"{told}; the running service says that it is used up", "raise the quota")
    rate = replica.value("pacer_rate", library=name)
    if rate is not None and rate < own * 0.9:
        return warning(
            f"{told}; the running service is down to {rate:.2f}",
            "find out who else uses the key: error 18 keeps coming",
        )
    return ok(f"{told}; the running service uses it and was not told that it is used up")
