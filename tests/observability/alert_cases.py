"""For each alert a case in which it fires and one, close to it, in which none does."""

from __future__ import annotations

from typing import Final

from tests.observability.alert_series import (
    ASKED,
    STEPS,
    Case,
    Series,
    alike,
    answered,
    breaker,
    calls,
    errors,
    facades,
    on,
    posts,
    rate,
    recall,
    refused,
    rejected,
    seen,
    slots,
    spans,
    sql,
    state,
    until_lately,
    while_called,
)

_REFUSED_AT_GATEWAY = 'envoy_http_local_rate_limit_rate_limited{instance="a"}'
_NOT_TRUSTED = 'envoy_listener_ssl_fail_verify_error{instance="a"}'
_RATED = rate("9.7")
_STARTED = 'process_start_time_seconds{instance="a",job="facade"}'
_UP = 'up{instance="a",job="engine"}'

CASES: Final[dict[str, Case]] = {
    "ServerFault": seen("SERVER_FAULT", "facade"),
    "ReplicaOverloaded": Case(
        errors("SERVER_OVERLOADED", "facade", 6), errors("SERVER_OVERLOADED", "facade", 1)
    ),
    "CallersShutOut": Case(
        calls("OK", f"0+10x100 1000x{STEPS}") | calls("UNAUTHENTICATED", f"0x100 0+9x{STEPS}"),
        # Nobody calls any more but a stranger.
        calls("OK", f"0+10x100 1000x{STEPS}") | calls("UNAUTHENTICATED", f"0x100 0+0.3x{STEPS}"),
    ),
    "CredentialsRejected": Case(
        rejected("token_refreshes"),
        {'productsearch_token_refreshes_total{library="l",outcome="ok"}': f"0+1x{STEPS}"},
    ),
    "UpstreamDown": while_called("productsearch_breaker_open", "failures"),
    "UpstreamUnreadable": seen("UPSTREAM_PROTOCOL", "upstream"),
    "AddsUnsettled": seen("ADD_OUTCOME_UNKNOWN", "upstream"),
    "LibraryMissing": answered("LIBRARY_NOT_READY"),
    "LibraryFull": answered("LIBRARY_FULL"),
    "QuotaExhausted": while_called("productsearch_quota_exhausted", "quota"),
    "QuotaTooSmall": Case(
        slots("a", 100, 20) | slots("b", 100, 20) | _RATED,
        slots("a", 100, 1) | slots("b", 100, 1) | _RATED,
    ),
    "CallerTakesQuota": Case(
        slots("greedy", 200, 900) | slots("polite", 20, 0) | _RATED,
        slots("greedy", 200, 0) | slots("polite", 20, 0) | _RATED,
    ),
    "KeyUsedElsewhere": Case(
        rate("7") | slots("a", 100, 20),
        {
            name: values.replace(f"7x{STEPS}", "7 7 9.7 9.7 " * (STEPS // 4))
            for name, values in rate("7").items()
        },
    ),
    "TokenStale": on("productsearch_token_state", library="l", state="stale"),
    "CertificateEnds": Case(
        state("productsearch_certificate_days_left", "13", what="tls_cert_file"),
        state("productsearch_certificate_days_left", "15", what="tls_cert_file"),
    ),
    "CertificateEnded": Case(
        state("productsearch_certificate_days_left", "-0.1", what="tls_cert_file"),
        # For a moment: a valid one was put in its place.
        state("productsearch_certificate_days_left", "400", what="tls_cert_file")
        | {
            'productsearch_certificate_days_left{instance="b",what="tls_cert_file"}': "-1 "
            "400 400 400 " * (STEPS // 4)
        },
    ),
    "CertificateNotYetValid": Case(
        state("productsearch_certificate_begins_in_days", "0.1", what="tls_cert_file"),
        state("productsearch_certificate_begins_in_days", "-0.1", what="tls_cert_file"),
    ),
    "KeyPairEnds": Case(
        state("productsearch_key_pair_days_left", "13", library="l"),
        state("productsearch_key_pair_days_left", "15", library="l")
        | state("productsearch_key_pair_age_days", "400", library="l"),
    ),
    "AuditLinesLost": Case(
        {'productsearch_audit_lines_total{instance="a",outcome="lost"}': f"0x140 3x{STEPS - 140}"},
        {
            'productsearch_audit_lines_total{instance="a",outcome="lost"}': f"3x{STEPS}",
            'productsearch_audit_lines_total{instance="a",outcome="written"}': f"0+9x{STEPS}",
        },
    ),
    "SpansLost": Case(
        spans("", "dropped", 6, 5) | spans("engine_", "lost", 5, 6), spans("", "lost", 5, 6)
    ),
    "FileBroken": on("productsearch_files_broken", what="policy_file"),
    "ReplicaUnreachable": Case(
        state("productsearch_ready", "0") | state("productsearch_library_ready", "1", library="l"),
        state("productsearch_ready", "0") | state("productsearch_library_ready", "0", library="l"),
    ),
    "ReplicaGone": Case(state("up", "0", job="facade"), state("up", "1", job="facade")),
    "ComesAndGoes": Case({_UP: "1 0 " * (STEPS // 2)}, {_UP: f"1 0 1 0 1x{STEPS}"}),
    "ReplicasDiffer": Case(alike("1", "2"), alike("1", "1")),
    "GatewayGone": Case(state("up", "0", job="gateway"), state("up", "1", job="gateway")),
    "GatewayCutOff": Case(
        facades("0", f"1x{STEPS}"),
        # The upstream is down: a facade is ready for seconds, and the gateway sees little of it.
        facades("0", "0 0 1 0 " * (STEPS // 4))
        | {'productsearch_library_ready{instance="f",library="l"}': f"0x{STEPS}"},
    ),
    "GatewayRefuses": Case(
        {_REFUSED_AT_GATEWAY: f"0+6x{STEPS}"}, {_REFUSED_AT_GATEWAY: f"0+1x{STEPS}"}
    ),
    "CallersNotTrusted": Case({_NOT_TRUSTED: f"0+1x{STEPS}"}, {_NOT_TRUSTED: f"0+0.1x{STEPS}"}),
    "EngineGone": Case(state("up", "0", job="engine"), state("up", "0", job="other")),
    "EngineDatabaseDown": Case(
        state("productsearch_engine_database_up", "0"),
        {'productsearch_engine_database_up{instance="a"}': "0 0 1 1 " * (STEPS // 4)},
    ),
    "EngineDatabaseSlow": Case(sql(0.6), sql(0.4)),
    "EngineDiskFull": on("productsearch_engine_disk_full"),
    "EngineIndexMissing": Case(
        state("productsearch_engine_library_indexed", "0", library="l"),
        {
            'productsearch_engine_library_indexed{instance="a",library="l"}': "0 0 1 1 "
            * (STEPS // 4)
        },
    ),
    "EngineSearchesMiss": Case(recall("9.4"), recall("9.6")),
    "EngineLibraryNearlyFull": Case(
        state("productsearch_engine_library_images", "91", library="l")
        | state("productsearch_engine_library_capacity", "100", library="l"),
        state("productsearch_engine_library_images", "90", library="l")
        | state("productsearch_engine_library_capacity", "100", library="l"),
    ),
}

_BROKEN_PAIR: Final = 'productsearch_files_broken{instance="a",what="libraries.l.credentials_dir"}'
_PAIR_BROKEN: Final = {_BROKEN_PAIR: f"1x{STEPS}"} | rejected("token_refreshes")
_DOWN: Final = breaker(f"1x{STEPS}") | refused("failures")
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
_UNSETTLED: Final = until_lately("ADD_OUTCOME_UNKNOWN")
TOGETHER: Final[dict[str, tuple[Series, dict[str, int]]]] = {
    "adds that a dead upstream left unsettled": (_DOWN | _UNSETTLED, {"UpstreamDown": 1}),
    "pages of its gateway, beside": (
        _DOWN | until_lately("UPSTREAM_PROTOCOL"),
        {"UpstreamDown": 1},
    ),
    "the same adds, and it is back since four minutes": (
        breaker(f"1x{STEPS - 8} 0x8") | refused("failures") | _UNSETTLED,
        {},
    ),
    "a breaker that opens for moments, and adds unsettled": (
        breaker("1 0 0 0 " * (STEPS // 4)) | _UNSETTLED,
        {"AddsUnsettled": 1},
    ),
    "one that hangs: no breaker opens": (
        posts("OK", 0) | posts("TIMEOUT", 1) | _UNSETTLED,
        {"UpstreamDown": 1},
    ),
    "a breaker that nobody asks any more: the upstream may be back since long": (
        breaker(f"1x{STEPS}") | refused("failures", _UNASKED),
        {},
    ),
    "a quota that was used up, and nobody asks for more": (
        state("productsearch_quota_exhausted", "1", library="l") | refused("quota", _UNASKED),
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
        slots("a", 0, 0) | slots("b", 0.1, 0.1) | _RATED,
        {},
    ),
    "a token that was rejected, and calls are repeated with the next one": (
        {'productsearch_upstream_calls_total{library="l",outcome="OK"}': f"0+9x{STEPS}"}
        | rejected("upstream_calls"),
        {},
    ),
    "calls that were told so": (
        errors("UPSTREAM_CREDENTIALS_REJECTED", "facade", 1),
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
        facades("0", f"1x{STEPS}")
        | state(
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
        state("productsearch_token_state", "1", library="l", state="stale")
        | state("productsearch_token_state", "0", library="l", state="stale", instance="b"),
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
        slots("a", 10, 100) | slots("b", 10, 100),
        {"QuotaTooSmall": 1},
    ),
    "that quota, and one caller asks for most": (
        slots("greedy", 10, 900) | slots("polite", 10, 100),
        {"CallerTakesQuota": 1},
    ),
    "slots are refused as the upstream is slow, and the quota has room": (
        slots("greedy", 60, 900) | slots("polite", 60, 0) | _RATED,
        {},
    ),
    "a facade is restarted three times in half an hour": (
        {_STARTED: "1x104 2x10 3x10 4x40"},
        {"ComesAndGoes": 1},
    ),
    "a facade is restarted twice": ({_STARTED: "1x104 2x10 3x60"}, {}),
    "an engine loses its spans, and no facade does": (
        spans("engine_", "lost", 6, 5) | spans("", "lost", 5, 6),
        {"SpansLost": 1},
    ),
    "callers are shut out, and one is served": (
        calls("OK", f"0+1x{STEPS}") | calls("PERMISSION_DENIED", f"0+90x{STEPS}"),
        {},
    ),
    "a new key pair is refused, and the one before is good": (
        _PAIR_BROKEN | state("productsearch_token_state", "1", library="l", state="fresh"),
        {"FileBroken": 1},
    ),
    "that was so, and a good pair is in its place": (
        rejected("token_refreshes")
        | state("productsearch_token_state", "1", library="l", state="fresh")
        | {_BROKEN_PAIR: f"0x140 1x4 0x{STEPS - 144}"},
        {},
    ),
    "both pairs are refused: the token of the one before is not renewed": (
        _PAIR_BROKEN | state("productsearch_token_state", "0", library="l", state="fresh"),
        {"FileBroken": 1, "CredentialsRejected": 1},
    ),
    "one that answers some": (posts("OK", 1) | posts("TIMEOUT", 9), {}),
    "one upstream dead, adds of another one unsettled": (
        _DOWN | _UNSETTLED | until_lately("ADD_OUTCOME_UNKNOWN", "m"),
        {"UpstreamDown": 1, "AddsUnsettled": 1},
    ),
}
"""Series of which several alerts could speak, and how often each of them fires."""
