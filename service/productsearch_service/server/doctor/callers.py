"""Checks of who may call: certificates and their dates, keys, the policy, Envoy's header."""

from __future__ import annotations

import stat
import time
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from productsearch_service import limits
from productsearch_service.server.certificates import begins_in_days, days_left, read_file
from productsearch_service.server.doctor.finding import (
    Check,
    Finding,
    broken,
    ok,
    skipped,
    warning,
)
from productsearch_service.settings import Settings
from productsearch_service.settings_values import host_and_port, is_loopback

if TYPE_CHECKING:
    from productsearch_service.identity.policy import Policy, PolicyFile

_PREFIX_MIN: Final = {4: 8, 6: 32}
"""Shorter prefixes of ``sidecars`` hold whole organisations."""


def checks(settings: Settings) -> list[Check]:
    """Return the checks of ``listen`` and of whoever calls there."""
    return [
        Check("callers.open", partial(_open, settings)),
        Check("tls.certificate", partial(_dates, "tls_cert_file", settings.tls_cert_file)),
        Check("tls.client_ca", partial(_dates, "tls_client_ca_file", settings.tls_client_ca_file)),
        Check("tls.key_mode", partial(_key_mode, settings.tls_key_file)),
        Check("policy.unused", partial(_unused, settings)),
        Check("policy.reach", partial(_reach, settings)),
        Check("callers.header", partial(_header, settings)),
    ]


def _open(settings: Settings) -> Finding:
    host = host_and_port(settings.listen)[0]
    if settings.policy_file is not None:
        return ok("policy_file says who may do what")
    if settings.tls_client_ca_file is not None:
        return ok("callers show a certificate of tls_client_ca_file; each of them may do all")
    if is_loopback(host):
        return ok(f"{settings.listen} is reached from this machine only")
    return warning(
        f"{settings.listen} is open to the network and nobody is asked who calls",
        "set policy_file or tls_client_ca_file, unless a mesh keeps others away",
    )


def _dates(setting: str, path: Path | None) -> Finding:
    if path is None:
        return skipped(f"{setting} is not set")
    content, now_s = read_file(path), time.time()
    days, begins = days_left(content, now_s), begins_in_days(content, now_s)
    if begins is not None and begins > 0:
        told = f"{path} is not valid before {begins:.1f} days from now"
        return broken(told, "put one in its place that is; is this machine's clock right?")
    if days is None:
        return broken(f"{path} holds no certificate that can be read", f"correct {setting}")
    if days < 0:
        return broken(f"{path} ended {-days:.0f} days ago", "put a new one in its place")
    told = f"{path} is good for {days:.0f} days more"
    if days < limits.CERTIFICATE_DAYS_FEW:
        return warning(told, "put a new one in its place; it is in use within tls_poll_s")
    return ok(told)


def _key_mode(path: Path | None) -> Finding:
    return skipped("tls_key_file is not set") if path is None else closed_to_others(path)


def closed_to_others(path: Path) -> Finding:
    """Return whether other accounts of this machine may read a file with a secret."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return broken(f"{error.strerror}: {path}", "put the file there, for this account to read")
    told = f"{path} has mode {stat.S_IMODE(mode):04o}"
    if mode & stat.S_IROTH:
        return warning(f"{told}: every account can read it", f"chmod o-r {path}")
    return ok(told)


def _policy_file(settings: Settings) -> tuple[PolicyFile, Policy] | None:
    if settings.policy_file is None:
        return None
    from productsearch_service.identity.policy import Policy, PolicyFile, read_content

    content = read_content(settings.policy_file)
    return PolicyFile.model_validate(tomllib.loads(content.decode())), Policy.parse(content)


def _unused(settings: Settings) -> Finding:
    both = _policy_file(settings)
    if both is None:
        return skipped("policy_file is not set")
    told = [*both[1].unused(settings.libraries)]
    if told:
        return warning("\n".join(told), "correct the name, or remove the entry")
    return ok("each caller has a rule, each library of a rule is in the settings")


def _reach(settings: Settings) -> Finding:
    both = _policy_file(settings)
    if both is None:
        return skipped("policy_file is not set")
    told = [*_unreachable(*both, settings)]
    if told:
        remedy = "give the caller a token_sha256 or a rule, or set tls_client_ca_file or sidecars"
        return warning("\n".join(told), remedy)
    return ok("each caller that is named can prove who it is and may do something")


def _unreachable(file: PolicyFile, policy: Policy, settings: Settings) -> Iterator[str]:
    """Yield the named callers that can never make a call."""
    certificates = settings.tls_client_ca_file is not None or settings.sidecars
    by_token = {name for name, entry in file.callers.items() if entry.token_sha256}
    for name in sorted(policy.named):
        if name not in by_token and not certificates:
            yield f"caller {name} has no token, and no certificate or header can prove it"
        elif not policy.may_something(name, settings.libraries):
            yield f"caller {name} may call no method on any library of the settings"


def _header(settings: Settings) -> Finding:
    if not settings.sidecars:
        return ok("x-forwarded-client-cert is believed of nobody")
    told = "x-forwarded-client-cert is believed of " + ", ".join(map(str, settings.sidecars))
    wide = [each for each in settings.sidecars if each.prefixlen < _PREFIX_MIN[each.version]]
    if wide:
        return warning(
            f"{told}: whoever calls from there can be whoever it likes",
            "name the addresses of the sidecars alone",
        )
    if settings.policy_file is None:
        return warning(f"{told}, and no policy asks for it", "set policy_file, or leave it out")
    return ok(told)
