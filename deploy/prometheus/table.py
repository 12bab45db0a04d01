"""The alerts, in one table: what each one asks, and the objectives that budgets are counted from.

Durations stand in angle brackets, ``<5m>``: the script that writes the rules can divide them all,
for a trial evening. ``cause`` alerts name what to mend; ``symptom`` alerts say that callers notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from deploy.prometheus.expressions import (
    CALLED,
    CALLS,
    CUT_OFF,
    ERRORS,
    GREEDY,
    HAS_ROOM,
    KEY_SHARED,
    MISSED,
    NEW_PAIR,
    NOT_SENT,
    OURS,
    POSTS,
    QUOTA_ASKED,
    REJECTED,
    REJECTED_CALLS,
    SEARCHES,
    SHORT,
    SHUT_OUT,
    SILENT,
    SQL,
    TIME,
    answered,
    grown,
    seen_of_others,
    spans,
)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A service level objective: the share ``bad`` of all calls may be ``budget``, over 30 days.

    ``bad`` is a ratio over a window that stands as ``<window>`` in it, and ``count`` the number of
    bad calls in it: the only call of a quiet night is all of them.
    """

    name: str
    says: str
    budget: float
    bad: str
    count: str
    most: str
    """The library that has most of it, as a query over a window; the alert names it."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A burn rate that is too high if both windows show it."""

    rate: float
    long: str
    short: str
    severity: Literal["page", "ticket"]


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A cause: its expression, for how long it must hold, and what a person is told.

    ``reasons`` are the ErrorReasons that it stands for.
    """

    name: str
    expr: str
    lasts: str
    severity: Literal["page", "ticket"]
    says: str
    reasons: tuple[str, ...] = ()


BAD_CALLS_MIN: Final = 5
"""In the longer window: with fewer, a budget is not what has to be talked about."""

OBJECTIVES: Final = (
    Objective(
        name="BudgetOfFacade",
        says="calls fail and the facade is to blame",
        budget=0.001,
        bad=f'sum(rate({ERRORS}{{blame="facade"}}[<window>])) / sum(rate({CALLS}_count[<window>]))',
        count=f'sum(increase({ERRORS}{{blame="facade"}}[<window>]))',
        most=f'topk(1, sum by (library) (rate({ERRORS}{{blame="facade"}}[<window>])))',
    ),
    Objective(
        name="BudgetOfUpstream",
        says="calls fail and the upstream is to blame",
        budget=0.005,
        bad=f'sum(rate({ERRORS}{{blame="upstream"}}[<window>]))'
        f" / sum(rate({CALLS}_count[<window>]))",
        count=f'sum(increase({ERRORS}{{blame="upstream"}}[<window>]))',
        most=f'topk(1, sum by (library) (rate({ERRORS}{{blame="upstream"}}[<window>])))',
    ),
    Objective(
        name="BudgetOfTime",
        says="searches take longer than 2.5 s",
        budget=0.01,
        bad=f'1 - sum(rate({CALLS}_bucket{{le="2.5",{SEARCHES}}}[<window>]))'
        f" / sum(rate({CALLS}_count{{{SEARCHES}}}[<window>]))",
        count=f"sum(increase({CALLS}_count{{{SEARCHES}}}[<window>]))"
        f' - sum(increase({CALLS}_bucket{{le="2.5",{SEARCHES}}}[<window>]))',
        most=f"topk(1, sum by (library) (rate({TIME}[<window>]))"
        f" / sum by (library) (rate({POSTS}[<window>])))",
    ),
)

WINDOWS: Final = (
    Window(rate=14.4, long="<1h>", short="<5m>", severity="page"),
    Window(rate=6.0, long="<6h>", short="<30m>", severity="page"),
    Window(rate=3.0, long="<1d>", short="<2h>", severity="ticket"),
    Window(rate=1.0, long="<3d>", short="<6h>", severity="ticket"),
)


ALERTS: Final = (
    Alert(
        name="ServerFault",
        expr=grown(f'{ERRORS}{{reason="SERVER_FAULT"}}', "instance, library"),
        lasts="<0m>",
        severity="ticket",
        says="a fault of {{ $labels.instance }}'s own, in a call of library"
        " {{ $labels.library }}; its log has the traceback",
        reasons=("SERVER_FAULT",),
    ),
    Alert(
        name="ReplicaOverloaded",
        expr=f'sum by (instance) (rate({ERRORS}{{reason="SERVER_OVERLOADED"}}[<5m>])) > 0.1',
        lasts="<5m>",
        severity="page",
        says="{{ $labels.instance }} is at its bounds and refuses calls",
        reasons=("SERVER_OVERLOADED",),
    ),
    Alert(
        name="CallersShutOut",
        expr=SHUT_OUT,
        lasts="<2m>",
        severity="page",
        says="{{ $labels.instance }} refuses every caller, as not known or not allowed",
        reasons=("CALLER_UNAUTHENTICATED", "CALLER_FORBIDDEN"),
    ),
    Alert(
        name="CredentialsRejected",
        expr=f"({grown(f'productsearch_token_refreshes_total{REJECTED}', 'library')}"
        f" unless on (library) ({NEW_PAIR})) or {REJECTED_CALLS}",
        lasts="<0m>",
        severity="page",
        says="the upstream refuses the key pair of library {{ $labels.library }}, or its token",
        reasons=("UPSTREAM_CREDENTIALS_REJECTED",),
    ),
    Alert(
        name="UpstreamDown",
        expr="(max by (library) (min_over_time(productsearch_breaker_open[<1m>])) == 1"
        f" and on (library) ({CALLED})) or ({SILENT})",
        lasts="<1m>",
        severity="page",
        says="the upstream of library {{ $labels.library }} fails, or answers nobody",
        reasons=("UPSTREAM_UNAVAILABLE",),
    ),
    Alert(
        name="UpstreamUnreadable",
        expr=seen_of_others("UPSTREAM_PROTOCOL"),
        lasts="<10m>",
        severity="ticket",
        says="the upstream of library {{ $labels.library }} answers what is in no table",
        reasons=("UPSTREAM_PROTOCOL",),
    ),
    Alert(
        name="AddsUnsettled",
        expr=seen_of_others("ADD_OUTCOME_UNKNOWN"),
        lasts="<10m>",
        severity="ticket",
        says="the upstream of library {{ $labels.library }} answers, and not to all adds: the"
        " outcome of some is not known",
        reasons=("ADD_OUTCOME_UNKNOWN",),
    ),
    Alert(
        name="LibraryMissing",
        expr=answered("LIBRARY_NOT_READY"),
        lasts="<0m>",
        severity="ticket",
        says="the upstream has the account and not the library {{ $labels.library }}",
        reasons=("LIBRARY_NOT_READY",),
    ),
    Alert(
        name="LibraryFull",
        expr=answered("LIBRARY_FULL"),
        lasts="<0m>",
        severity="page",
        says="library {{ $labels.library }} has no room left; adds are refused",
        reasons=("LIBRARY_FULL",),
    ),
    Alert(
        name="QuotaExhausted",
        expr="max by (library) (min_over_time(productsearch_quota_exhausted[<1m>])) == 1"
        f" and on (library) ({QUOTA_ASKED})",
        lasts="<1m>",
        severity="page",
        says="the daily or total quota of library {{ $labels.library }} is used up",
        reasons=("QUOTA_EXHAUSTED",),
    ),
    Alert(
        name="QuotaTooSmall",
        expr=f"{SHORT} unless on (library) ({GREEDY}) unless on (library) ({KEY_SHARED})"
        f" unless on (library) ({HAS_ROOM})",
        lasts="<5m>",
        severity="ticket",
        says="callers of library {{ $labels.library }} want more than its calls per second",
        reasons=("RATE_LIMITED",),
    ),
    Alert(
        name="CallerTakesQuota",
        expr=GREEDY,
        lasts="<5m>",
        severity="ticket",
        says="{{ $labels.caller }} asks for most of library {{ $labels.library }}'s quota",
    ),
    Alert(
        name="KeyUsedElsewhere",
        expr=KEY_SHARED,
        lasts="<5m>",
        severity="ticket",
        says="error 18 keeps coming: somebody else uses the key of library {{ $labels.library }},"
        " or its quota is less than quota_qps",
    ),
    Alert(
        name="TokenStale",
        expr='max by (library) (productsearch_token_state{state="stale"}) == 1',
        lasts="<1h>",
        severity="ticket",
        says="the token of library {{ $labels.library }} is not renewed by a replica at least; it"
        " is still good",
    ),
    Alert(
        name="CertificateEnds",
        expr="min by (what) (productsearch_certificate_days_left) < 14 > 0",
        lasts="<5m>",
        severity="ticket",
        says="{{ $labels.what }} ends in {{ $value | humanize }} days",
    ),
    Alert(
        name="CertificateEnded",
        expr="min by (what) (productsearch_certificate_days_left) <= 0",
        lasts="<1m>",
        severity="page",
        says="{{ $labels.what }} has ended: {{ $value | humanize }} days are left",
    ),
    Alert(
        name="CertificateNotYetValid",
        expr="max by (what) (productsearch_certificate_begins_in_days) > 0",
        lasts="<1m>",
        severity="page",
        says="{{ $labels.what }} is not valid before {{ $value | humanize }} days from now",
    ),
    Alert(
        name="KeyPairEnds",
        expr="min by (library) (productsearch_key_pair_days_left) < 14",
        lasts="<5m>",
        severity="ticket",
        says="the key pair of library {{ $labels.library }} ends in {{ $value | humanize }} days",
    ),
    Alert(
        name="AuditLinesLost",
        expr=grown('productsearch_audit_lines_total{outcome="lost"}', "instance"),
        lasts="<0m>",
        severity="page",
        says="{{ $labels.instance }} lost lines of the audit stream: its disk does not keep up",
    ),
    Alert(
        name="SpansLost",
        expr=f"({spans(NOT_SENT)}) > 0.5 * ({spans()})",
        lasts="<10m>",
        severity="ticket",
        says="{{ $labels.instance }} loses most of its spans: traces are missing",
    ),
    Alert(
        name="FileBroken",
        expr="max by (what) (productsearch_files_broken) == 1",
        lasts="<5m>",
        severity="ticket",
        says="{{ $labels.what }} was changed into something that cannot be used",
    ),
    Alert(
        name="ReplicaUnreachable",
        expr="productsearch_ready == 0 unless on (instance) (productsearch_library_ready == 0)",
        lasts="<5m>",
        severity="page",
        says="{{ $labels.instance }} is not ready though its libraries are",
    ),
    Alert(
        name="ReplicaGone",
        expr='up{job="facade"} == 0',
        lasts="<5m>",
        severity="page",
        says="{{ $labels.instance }} does not answer Prometheus",
    ),
    Alert(
        name="ComesAndGoes",
        expr=f"changes(up{OURS}[<30m>]) > 5"
        f" or changes(process_start_time_seconds{OURS}[<30m>]) > 2",
        lasts="<0m>",
        severity="page",
        says="{{ $labels.instance }} ends or hangs again and again",
    ),
    Alert(
        name="ReplicasDiffer",
        expr="count by (job) (count by (job, settings, policy) (productsearch_settings_info)) > 1",
        lasts="<1h>",
        severity="ticket",
        says="there are {{ $value }} different settings or policies among the replicas of job"
        " {{ $labels.job }}",
    ),
    Alert(
        name="GatewayGone",
        expr='up{job="gateway"} == 0',
        lasts="<5m>",
        severity="page",
        says="{{ $labels.instance }} does not answer Prometheus",
    ),
    Alert(
        name="GatewayCutOff",
        expr=CUT_OFF,
        lasts="<5m>",
        severity="page",
        says="the gateway {{ $labels.instance }} reaches no facade, and facades are ready",
    ),
    Alert(
        name="GatewayRefuses",
        expr="sum by (instance) (rate(envoy_http_local_rate_limit_rate_limited[<5m>])) > 0.1",
        lasts="<5m>",
        severity="ticket",
        says="a caller calls more often than the gateway {{ $labels.instance }} lets it",
    ),
    Alert(
        name="CallersNotTrusted",
        expr="sum by (instance) (increase(envoy_listener_ssl_fail_verify_error[<30m>])) > 10",
        lasts="<0m>",
        severity="ticket",
        says="a caller of the gateway {{ $labels.instance }} shows a certificate that has ended or"
        " is not of our CA",
    ),
    Alert(
        name="EngineGone",
        expr='up{job="engine"} == 0',
        lasts="<5m>",
        severity="page",
        says="{{ $labels.instance }} does not answer Prometheus",
    ),
    Alert(
        name="EngineDatabaseDown",
        expr="max_over_time(productsearch_engine_database_up[<1m>]) == 0",
        lasts="<1m>",
        severity="page",
        says="the database of {{ $labels.instance }} does not answer",
    ),
    Alert(
        name="EngineDatabaseSlow",
        expr=f"sum by (instance) (rate({SQL.format('sum')}))"
        f" / sum by (instance) (rate({SQL.format('count')})) > 0.5",
        lasts="<5m>",
        severity="ticket",
        says="SQL of {{ $labels.instance }} takes {{ $value | humanizeDuration }} on average",
    ),
    Alert(
        name="EngineDiskFull",
        expr="productsearch_engine_disk_full == 1",
        lasts="<1m>",
        severity="page",
        says="{{ $labels.instance }} refuses adds for want of room on its disk",
    ),
    Alert(
        name="EngineIndexMissing",
        expr="min by (library) (productsearch_engine_library_indexed) == 0",
        lasts="<1h>",
        severity="ticket",
        says="searches of library {{ $labels.library }} read all of it: its index is not there",
    ),
    Alert(
        name="EngineSearchesMiss",
        expr=MISSED,
        lasts="<1h>",
        severity="ticket",
        says="searches of library {{ $labels.library }} find {{ $value | humanizePercentage }} of"
        " what they should",
    ),
    Alert(
        name="EngineLibraryNearlyFull",
        expr="max by (library) (productsearch_engine_library_images"
        " / productsearch_engine_library_capacity) > 0.9",
        lasts="<5m>",
        severity="ticket",
        says="library {{ $labels.library }} is more than nine tenths full",
    ),
)

WITHOUT: Final = (
    "FIELD_INVALID", "IMAGE_UNREADABLE", "IMAGE_SIZE_INVALID", "IMAGE_URL_UNREACHABLE",
    "IMAGE_ALREADY_EXISTS", "IMAGE_NOT_FOUND", "PAGE_TOKEN_INVALID", "RESULT_WINDOW_EXCEEDED",
    "LIBRARY_UNKNOWN", "SERVER_DRAINING",
    "DEADLINE_TOO_SHORT",
)  # fmt: skip
"""ErrorReasons without an alert: a caller is told, and nobody here has to act."""
