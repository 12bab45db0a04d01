"""Checks of one library's upstream: its name, its address, TLS, its clock, token, search, quota.

Each is made by itself and over a connection of its own, so that one that hangs hides no other.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from productsearch_service import limits
from productsearch_service.call_context import CallContext, Caller, Deadline
from productsearch_service.errors import (
    DeadlineTooShort,
    ImageUnreadable,
    QuotaExhausted,
    RateLimited,
    ServiceError,
)
from productsearch_service.server import key_pairs
from productsearch_service.server.doctor import line
from productsearch_service.server.doctor.callers import closed_to_others
from productsearch_service.server.doctor.finding import (
    Check,
    Finding,
    State,
    Work,
    broken,
    left_s,
    not_ended,
    ok,
    silent,
    skipped,
    warning,
)
from productsearch_service.server.doctor.image import PNG
from productsearch_service.server.doctor.replica import Beside
from productsearch_service.settings import Settings
from productsearch_service.settings_library import LibrarySettings

_DAY_S: Final = 86_400
_WAITS_FOR: Final = {
    "upstream.resolve": "the name server of this machine, which does not answer",
    "upstream.key_pair": "the volume of credentials_dir",
    "upstream.key_mode": "the volume of credentials_dir",
    "upstream.quota": "the service that listens at metrics_listen",
}
"""And all others for the upstream."""


def checks(settings: Settings, replica: Beside, waits: Deadline) -> list[Check]:
    """Return the checks of each library; connections and the search have until ``waits``."""
    made = []
    for name, library in settings.libraries.items():
        works: dict[str, Work] = {
            "upstream.url": partial(_url, library),
            "upstream.key_pair": partial(_key_pair, library),
            "upstream.key_end": partial(_key_end, library),
            "upstream.key_mode": partial(_key_mode, library.credentials_dir),
            "upstream.resolve": partial(line.resolve, library),
            "upstream.connect": partial(line.connect, library, waits),
            "upstream.tls": partial(line.tls, library, waits),
            "upstream.clock": partial(line.clock, library, waits),
            "upstream.token": partial(_token, library, waits),
            "upstream.search": partial(_search, settings, library, name, waits),
            "upstream.quota": partial(_quota, settings, library, name, replica),
        }
        needs = {
            "upstream.connect": ("upstream.resolve",),
            "upstream.tls": ("upstream.connect",),
            "upstream.clock": ("upstream.connect", "upstream.tls"),
            "upstream.search": ("upstream.token",),
        }
        made += [
            Check(code, work, name, needs.get(code, ()), _WAITS_FOR.get(code, line.PLACE))
            for code, work in works.items()
        ]
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
        key_pairs.credentials_of(library).read()
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


async def _token(library: LibrarySettings, waits: Deadline) -> Finding:
    from productsearch_service.upstream.auth.issuer import TokenIssuer

    issuer = TokenIssuer(library.base_url, library.ca_bundle, key_pairs.credentials_of(library))
    limit_s = left_s(waits)
    try:
        async with asyncio.timeout(limit_s):
            issued = await issuer()
    except TimeoutError:
        remedy = "see what answers at base_url, and its log: calls wait for a token, and fail"
        told = f"the token endpoint answers nothing within {limit_s:.1f} s"
        return silent(limit_s, line.PLACE, broken(told, remedy))
    except ServiceError as error:
        remedy = "correct the key pair: new files are in use within credentials_poll_s"
        if error.reason != "UPSTREAM_CREDENTIALS_REJECTED":
            remedy = "see that base_url leads to the upstream, and that it runs"
        return broken(error.message, remedy)
    finally:
        issuer.close()
    return ok(f"a token was received, good for {issued.expires_in_s / _DAY_S:.0f} days")


async def _search(
    settings: Settings, library: LibrarySettings, name: str, waits: Deadline
) -> Finding:
    from productsearch_service.counters import Counters
    from productsearch_service.images import form_encoding
    from productsearch_service.library.commands import Image, Search
    from productsearch_service.server.libraries import build_library

    built = build_library(library, settings.replicas, Counters().library(name))
    value = (form_encoding.encode(PNG),)
    context, limit_s = CallContext(Caller("doctor"), waits), left_s(waits)
    try:
        page = await built.search(Search(Image(form_value=value), 0, 1, b"doctor"), context)
    except ImageUnreadable:
        return ok("the upstream answers, and finds nothing in the built-in image")
    except DeadlineTooShort:
        return not_ended(limit_s, line.PLACE)
    except ServiceError as error:
        state = State.BROKEN
        if isinstance(error, RateLimited | QuotaExhausted):
            state = State.WARNING
        told = f"{error.reason}: {error.message}"
        found = Finding(state, told, "see this reason in docs/operating.md")
        is_late = waits.remaining_s() < limits.DEADLINE_MIN_S
        return silent(limit_s, line.PLACE, found) if is_late else found
    finally:
        await built.close()
    return ok(f"answered with {len(page.hits)} results, log_id {page.log_id}")


def _quota(settings: Settings, library: LibrarySettings, name: str, beside: Beside) -> Finding:
    own = library.quota_qps / settings.replicas * limits.QUOTA_SHARE
    told = f"{own:.2f} calls a second for this replica, of {library.quota_qps:g} in all"
    if not library.quota_qps:
        told = "no quota is set"
    replica = beside()
    if replica is None or replica.silent_s:
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
