"""For each alert a case in which it fires and one, close to it, in which none does.

A case is series with their values as promtool writes them, thirty seconds apart: ``0+1x80`` is a
counter that grows by one each time, ``1x80`` a state that stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Series = dict[str, str]

STEPS: Final = 160
"""Of thirty seconds: beyond the longest ``for``."""


ASKED: Final = 'up{job="prometheus",instance="p"}'
"""Prometheus was there, as in each case that does not say otherwise."""


@dataclass(frozen=True)
class Case:
    """Series with which the alert fires, and with which no alert does."""

    fires: Series
    silent: Series


def _errors(reason: str, blame: str, step: float, **labels: str) -> Series:
    told = {"reason": reason, "blame": blame, "sent": "yes"}
    own = {"instance": "a", "method": "AddImage", "library": "l", **told, **labels}
    inner = ",".join(f'{name}="{value}"' for name, value in own.items())
    return {f"productsearch_errors_total{{{inner}}}": f"0+{step}x{STEPS}"}


def _state(name: str, value: str, **labels: str) -> Series:
    inner = ",".join(f'{name}="{text}"' for name, text in ({"instance": "a"} | labels).items())
    return {f"{name}{{{inner}}}": f"{value}x{STEPS}"}


def _slots(caller: str, given: float, refused: float) -> Series:
    start = f'productsearch_caller_slots_total{{library="l",caller="{caller}",outcome='
    return {
        f'{start}"given"}}': f"0+{given}x{STEPS}",
        f'{start}"refused"}}': f"0+{refused}x{STEPS}",
    }


def _rate(rate: str) -> Series:
    return _state("productsearch_pacer_rate", rate, library="l") | _state(
        "productsearch_quota_limit", "10", library="l"
    )


def _recall(found: str) -> Series:
    labels = '{instance="a",library="l"}'
    return {
        f"productsearch_engine_recall_found_total{labels}": f"0+{found}x{STEPS}",
        f"productsearch_engine_recall_wanted_total{labels}": f"0+10x{STEPS}",
    }


def _spans(server: str, outcome: str, lost: int, sent: int) -> Series:
    start = f'productsearch_{server}spans_total{{instance="{server}a",outcome='
    return {
        f'{start}"{outcome}"}}': f"0+{lost}x{STEPS}",
        f'{start}"sent"}}': f"0+{sent}x{STEPS}",
    }


def _seen(reason: str, blame: str) -> Case:
    """Some errors a minute; the silent case had its last ones long ago."""
    ((series, _),) = _errors(reason, blame, 1).items()
    return Case({series: f"_x4 1+0.1x{STEPS}"}, {series: f"5x{STEPS}"})


def _answered(reason: str) -> Case:
    """The same of what the upstream answers, each item of a stream by itself."""
    ((series, _),) = _posts(reason, 1).items()
    return Case({series: f"_x4 1+0.1x{STEPS}"}, {series: f"5x{STEPS}"})


def _until_lately(reason: str, library: str = "l") -> Series:
    """Some errors a minute, the last ones four minutes before the end."""
    ((series, _),) = _errors(reason, "upstream", 1, library=library).items()
    return {series: f"_x4 1+0.1x{STEPS - 13} 20x8"}


def _breaker(values: str) -> Series:
    return {'productsearch_breaker_open{instance="a",library="l"}': values}


def _refused(gate: str, values: str = f"0+1x{STEPS}") -> Series:
    labels = f'instance="a",library="l",gate="{gate}"'
    return {f"productsearch_breaker_refusals_total{{{labels}}}": values}


def _rejected(metric: str) -> Series:
    labels = 'library="l",outcome="UPSTREAM_CREDENTIALS_REJECTED"'
    return {f"productsearch_{metric}_total{{{labels}}}": f"_x140 1x{STEPS - 140}"}


def _on(name: str, **labels: str) -> Case:
    """A state that is 1 all the time, and one that is so now and then."""
    ((series, _),) = _state(name, "1", **labels).items()
    return Case({series: f"1x{STEPS}"}, {series: "1 1 0 0 " * (STEPS // 4)})


def _while_called(name: str, gate: str) -> Case:
    """The same, while the gate refuses calls."""
    case = _on(name, library="l")
    return Case(case.fires | _refused(gate), case.silent | _refused(gate))


def _sql(mean_s: float) -> Series:
    start = 'productsearch_engine_stage_seconds_{}{{stage="sql",instance="e"}}'
    return {start.format("sum"): f"0+{10 * mean_s}x{STEPS}", start.format("count"): f"0+10x{STEPS}"}


def _facades(healthy: str, ready: str) -> Series:
    """What the gateway sees of the facades, and what they say of themselves."""
    name = "envoy_cluster_membership_healthy"
    return _state(name, healthy, envoy_cluster_name="facades") | {
        'productsearch_ready{instance="f"}': ready
    }


def _posts(outcome: str, step: float) -> Series:
    labels = f'library="l",method="search",outcome="{outcome}"'
    return {f"productsearch_upstream_calls_total{{{labels}}}": f"9+{step}x{STEPS}"}


def _calls(code: str, values: str) -> Series:
    labels = f'instance="a",rpc_method="m",rpc_status_code="{code}"'
    return {f"rpc_server_call_duration_seconds_count{{{labels}}}": values}


_REFUSED_AT_GATEWAY = 'envoy_http_local_rate_limit_rate_limited{instance="a"}'
_RATED = _rate("9.7")

CASES: Final[dict[str, Case]] = {
    "ServerFault": _seen("SERVER_FAULT", "facade"),
    "ReplicaOverloaded": Case(
        _errors("SERVER_OVERLOADED", "facade", 6), _errors("SERVER_OVERLOADED", "facade", 1)
    ),
    "CallersShutOut": Case(
        _calls("OK", f"0+10x100 1000x{STEPS}") | _calls("UNAUTHENTICATED", f"0x100 0+9x{STEPS}"),
        # Nobody calls any more but a stranger.
        _calls("OK", f"0+10x100 1000x{STEPS}") | _calls("UNAUTHENTICATED", f"0x100 0+0.3x{STEPS}"),
    ),
    "CredentialsRejected": Case(
        _rejected("token_refreshes"),
        {'productsearch_token_refreshes_total{library="l",outcome="ok"}': f"0+1x{STEPS}"},
    ),
    "UpstreamDown": _while_called("productsearch_breaker_open", "failures"),
    "UpstreamUnreadable": _seen("UPSTREAM_PROTOCOL", "upstream"),
    "AddsUnsettled": _seen("ADD_OUTCOME_UNKNOWN", "upstream"),
    "LibraryMissing": _answered("LIBRARY_NOT_READY"),
    "LibraryFull": _answered("LIBRARY_FULL"),
    "QuotaExhausted": _while_called("productsearch_quota_exhausted", "quota"),
    "QuotaTooSmall": Case(
        _slots("a", 100, 20) | _slots("b", 100, 20) | _RATED,
        _slots("a", 100, 1) | _slots("b", 100, 1) | _RATED,
    ),
    "CallerTakesQuota": Case(
        _slots("greedy", 200, 900) | _slots("polite", 20, 0) | _RATED,
        _slots("greedy", 200, 0) | _slots("polite", 20, 0) | _RATED,
    ),
    "KeyUsedElsewhere": Case(
        _rate("7") | _slots("a", 100, 20),
        {
            name: values.replace(f"7x{STEPS}", "7 7 9.7 9.7 " * (STEPS // 4))
            for name, values in _rate("7").items()
        },
    ),
    "TokenStale": _on("productsearch_token_state", library="l", state="stale"),
    "CertificateEnds": Case(
        _state("productsearch_certificate_days_left", "13", what="tls_cert_file"),
        _state("productsearch_certificate_days_left", "15", what="tls_cert_file"),
    ),
    "CertificateEnded": Case(
        _state("productsearch_certificate_days_left", "-0.1", what="tls_cert_file"),
        # For a moment: a valid one was put in its place.
        _state("productsearch_certificate_days_left", "400", what="tls_cert_file")
        | {
            'productsearch_certificate_days_left{instance="b",what="tls_cert_file"}': "-1 "
            "400 400 400 " * (STEPS // 4)
        },
    ),
    "CertificateNotYetValid": Case(
        _state("productsearch_certificate_begins_in_days", "0.1", what="tls_cert_file"),
        _state("productsearch_certificate_begins_in_days", "-0.1", what="tls_cert_file"),
    ),
    "KeyPairEnds": Case(
        _state("productsearch_key_pair_days_left", "13", library="l"),
        _state("productsearch_key_pair_days_left", "15", library="l")
        | _state("productsearch_key_pair_age_days", "400", library="l"),
    ),
    "AuditLinesLost": Case(
        {'productsearch_audit_lines_total{instance="a",outcome="lost"}': f"0x140 3x{STEPS - 140}"},
        {
            'productsearch_audit_lines_total{instance="a",outcome="lost"}': f"3x{STEPS}",
            'productsearch_audit_lines_total{instance="a",outcome="written"}': f"0+9x{STEPS}",
        },
    ),
    "SpansLost": Case(
        _spans("", "dropped", 6, 5) | _spans("engine_", "lost", 5, 6), _spans("", "lost", 5, 6)
    ),
    "FileBroken": _on("productsearch_files_broken", what="policy_file"),
    "ReplicaUnreachable": Case(
        _state("productsearch_ready", "0")
        | _state("productsearch_library_ready", "1", library="l"),
        _state("productsearch_ready", "0")
        | _state("productsearch_library_ready", "0", library="l"),
    ),
    "ReplicaGone": Case(_state("up", "0", job="facade"), _state("up", "1", job="facade")),
    "GatewayGone": Case(_state("up", "0", job="gateway"), _state("up", "1", job="gateway")),
    "GatewayCutOff": Case(
        _facades("0", f"1x{STEPS}"),
        # The upstream is down: a facade is ready for seconds, and the gateway sees little of it.
        _facades("0", "0 0 1 0 " * (STEPS // 4))
        | {'productsearch_library_ready{instance="f",library="l"}': f"0x{STEPS}"},
    ),
    "GatewayRefuses": Case(
        {_REFUSED_AT_GATEWAY: f"0+6x{STEPS}"}, {_REFUSED_AT_GATEWAY: f"0+1x{STEPS}"}
    ),
    "EngineGone": Case(_state("up", "0", job="engine"), _state("up", "0", job="other")),
    "EngineDatabaseDown": Case(
        _state("productsearch_engine_database_up", "0"),
        {'productsearch_engine_database_up{instance="a"}': "0 0 1 1 " * (STEPS // 4)},
    ),
    "EngineDatabaseSlow": Case(_sql(0.6), _sql(0.4)),
    "EngineDiskFull": _on("productsearch_engine_disk_full"),
    "EngineIndexMissing": Case(
        _state("productsearch_engine_library_indexed", "0", library="l"),
        {
            'productsearch_engine_library_indexed{instance="a",library="l"}': "0 0 1 1 "
            * (STEPS // 4)
        },
    ),
    "EngineSearchesMiss": Case(_recall("9.4"), _recall("9.6")),
    "EngineLibraryNearlyFull": Case(
        _state("productsearch_engine_library_images", "91", library="l")
        | _state("productsearch_engine_library_capacity", "100", library="l"),
        _state("productsearch_engine_library_images", "90", library="l")
        | _state("productsearch_engine_library_capacity", "100", library="l"),
    ),
}

_BROKEN_PAIR: Final = 'productsearch_files_broken{instance="a",what="libraries.l.credentials_dir"}'
_PAIR_BROKEN: Final = {_BROKEN_PAIR: f"1x{STEPS}"} | _rejected("token_refreshes")
_DOWN: Final = _breaker(f"1x{STEPS}") | _refused("failures")
_UNASKED: Final = f"0+1x60 60x{STEPS - 60}"
_OLD: Final = {
    f'productsearch_{name}_total{{instance="a",library="l",{label}}}': "VALUES"
    for name, label in (
        ("errors", 'reason="SERVER_FAULT",blame="facade"'),
        ("upstream_calls", 'outcome="LIBRARY_FULL"'),
        ("token_refreshes", 'outcome="UPSTREAM_CREDENTIALS_REJECTED"'),
        ("audit_lines", 'outcome="lost"'),
    )
}
"""Counters that grew some days ago."""
_CALLED: Final = 'rpc_server_call_duration_seconds_count{instance="a",rpc_method="m",code="C"}'
_UNSETTLED: Final = _until_lately("ADD_OUTCOME_UNKNOWN")
TOGETHER: Final[dict[str, tuple[Series, dict[str, int]]]] = {
    "adds that a dead upstream left unsettled": (_DOWN | _UNSETTLED, {"UpstreamDown": 1}),
    "pages of its gateway, beside": (
        _DOWN | _until_lately("UPSTREAM_PROTOCOL"),
        {"UpstreamDown": 1},
    ),
    "the same adds, and it is back since four minutes": (
        _breaker(f"1x{STEPS - 8} 0x8") | _refused("failures") | _UNSETTLED,
        {},
    ),
    "a breaker that opens for moments, and adds unsettled": (
        _breaker("1 0 0 0 " * (STEPS // 4)) | _UNSETTLED,
        {"AddsUnsettled": 1},
    ),
    "one that hangs: no breaker opens": (
        _posts("OK", 0) | _posts("TIMEOUT", 1) | _UNSETTLED,
        {"UpstreamDown": 1},
    ),
    "a breaker that nobody asks any more: the upstream may be back since long": (
        _breaker(f"1x{STEPS}") | _refused("failures", _UNASKED),
        {},
    ),
    "a quota that was used up, and nobody asks for more": (
        _state("productsearch_quota_exhausted", "1", library="l") | _refused("quota", _UNASKED),
        {},
    ),
    "a request without an answer in a quiet hour": (
        {'productsearch_upstream_calls_total{library="l",outcome="TIMEOUT"}': f"3x154 4x{STEPS}"},
        {},
    ),
    "a call that fails in a quiet night, the only one": (
        {
            'productsearch_errors_total{instance="a",library="l",reason="O",blame="upstream"}': (
                f"3x154 4x{STEPS}"
            ),
            _CALLED: f"300x154 301x{STEPS}",
        },
        {},
    ),
    "a call that is refused a slot now and then": (
        _slots("a", 0, 0) | _slots("b", 0.1, 0.1) | _RATED,
        {},
    ),
    "a token that was rejected, and calls are repeated with the next one": (
        {'productsearch_upstream_calls_total{library="l",outcome="OK"}': f"0+9x{STEPS}"}
        | _rejected("upstream_calls"),
        {},
    ),
    "calls that were told so": (
        _errors("UPSTREAM_CREDENTIALS_REJECTED", "facade", 1),
        {"CredentialsRejected": 1},
    ),
    "items of streams that were told so": (
        {
            'productsearch_items_total{library="l",outcome="failed",'
            'reason="UPSTREAM_CREDENTIALS_REJECTED"}': f"0+1x{STEPS}"
        },
        {"CredentialsRejected": 1},
    ),
    "one gateway of two is cut off": (
        _facades("0", f"1x{STEPS}")
        | _state(
            "envoy_cluster_membership_healthy", "2", envoy_cluster_name="facades", instance="h"
        ),
        {"GatewayCutOff": 1},
    ),
    "a few searches miss something": (
        {
            'productsearch_engine_recall_found_total{instance="a",library="l"}': f"0x20 9x{STEPS}",
            'productsearch_engine_recall_wanted_total{instance="a",library="l"}': (
                f"0x20 10x{STEPS}"
            ),
        },
        {},
    ),
    "one of two replicas does not renew its token": (
        _state("productsearch_token_state", "1", library="l", state="stale")
        | _state("productsearch_token_state", "0", library="l", state="stale", instance="b"),
        {"TokenStale": 1},
    ),
    "a new Prometheus, and counters of last week": (
        dict.fromkeys((*_OLD, ASKED), f"_x{STEPS - 15} 7x15"),
        {},
    ),
    "a Prometheus that was away for ten minutes": (
        dict.fromkeys((*_OLD, ASKED), f"1x{STEPS - 42} stale _x20 1x30"),
        {},
    ),
    "an instance that could not be asked for a moment": (
        dict.fromkeys(_OLD, f"7x{STEPS - 23} stale 7x30")
        | {'up{job="facade",instance="a"}': f"1x{STEPS - 23} 0 1x30"},
        {},
    ),
    "the quota is the upstream's own: no pacer has a rate": (
        _slots("a", 10, 100) | _slots("b", 10, 100),
        {"QuotaTooSmall": 1},
    ),
    "that quota, and one caller asks for most": (
        _slots("greedy", 10, 900) | _slots("polite", 10, 100),
        {"CallerTakesQuota": 1},
    ),
    "an engine loses its spans, and no facade does": (
        _spans("engine_", "lost", 6, 5) | _spans("", "lost", 5, 6),
        {"SpansLost": 1},
    ),
    "callers are shut out, and one is served": (
        _calls("OK", f"0+1x{STEPS}") | _calls("PERMISSION_DENIED", f"0+90x{STEPS}"),
        {},
    ),
    "a new key pair is refused, and the one before is good": (
        _PAIR_BROKEN | _state("productsearch_token_state", "1", library="l", state="fresh"),
        {"FileBroken": 1},
    ),
    "that was so, and a good pair is in its place": (
        _rejected("token_refreshes")
        | _state("productsearch_token_state", "1", library="l", state="fresh")
        | {_BROKEN_PAIR: f"0x140 1x4 0x{STEPS - 144}"},
        {},
    ),
    "both pairs are refused: the token of the one before is not renewed": (
        _PAIR_BROKEN | _state("productsearch_token_state", "0", library="l", state="fresh"),
        {"FileBroken": 1, "CredentialsRejected": 1},
    ),
    "one that answers some": (_posts("OK", 1) | _posts("TIMEOUT", 9), {}),
    "one upstream dead, adds of another one unsettled": (
        _DOWN | _UNSETTLED | _until_lately("ADD_OUTCOME_UNKNOWN", "m"),
        {"UpstreamDown": 1, "AddsUnsettled": 1},
    ),
}
"""Series of which several alerts could speak, and how often each of them fires."""
