"""The alerts, in one table: what each one asks, and the objectives that budgets are counted from.

Durations stand in angle brackets, ``<5m>``: the script that writes the rules can divide them all,
for a trial evening. ``cause`` alerts name what to mend; ``symptom`` alerts say that callers notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

_ERRORS: Final = "productsearch_errors_total"
_CALLS: Final = "rpc_server_call_duration_seconds"
_POSTS: Final = "productsearch_upstream_calls_total"
_TIME: Final = "productsearch_upstream_seconds_total"
_REJECTED: Final = '{outcome="UPSTREAM_CREDENTIALS_REJECTED"}'
_SEARCHES: Final = 'rpc_method="productsearch.v1.ProductSearch/SearchImages"'


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A service level objective: the share ``bad`` of all calls may be ``budget``, over 30 days.

    ``bad`` is a ratio over a window that stands as ``<window>`` in it.
    """

    name: str
    says: str
    budget: float
    bad: str
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


OBJECTIVES: Final = (
    Objective(
        name="BudgetOfFacade",
        says="calls fail and the facade is to blame",
        budget=0.001,
        bad=f'sum(rate({_ERRORS}{{blame="facade"}}[<window>]))'
        f" / sum(rate({_CALLS}_count[<window>]))",
        most=f'topk(1, sum by (library) (rate({_ERRORS}{{blame="facade"}}[<window>])))',
    ),
    Objective(
        name="BudgetOfUpstream",
        says="calls fail and the upstream is to blame",
        budget=0.005,
        bad=f'sum(rate({_ERRORS}{{blame="upstream"}}[<window>]))'
        f" / sum(rate({_CALLS}_count[<window>]))",
        most=f'topk(1, sum by (library) (rate({_ERRORS}{{blame="upstream"}}[<window>])))',
    ),
    Objective(
        name="BudgetOfTime",
        says="searches take longer than 2.5 s",
        budget=0.01,
        bad=f'1 - sum(rate({_CALLS}_bucket{{le="2.5",{_SEARCHES}}}[<window>]))'
        f" / sum(rate({_CALLS}_count{{{_SEARCHES}}}[<window>]))",
        most=f"topk(1, sum by (library) (rate({_TIME}[<window>]))"
        f" / sum by (library) (rate({_POSTS}[<window>])))",
    ),
)

WINDOWS: Final = (
    Window(rate=14.4, long="<1h>", short="<5m>", severity="page"),
    Window(rate=6.0, long="<6h>", short="<30m>", severity="page"),
    Window(rate=3.0, long="<1d>", short="<2h>", severity="ticket"),
    Window(rate=1.0, long="<3d>", short="<6h>", severity="ticket"),
)


def _grown(counter: str, by: str, window: str = "<10m>") -> str:
    """Return whether a counter has grown, by a label; one that has just appeared has, too."""
    grown = f"sum by ({by}) (increase({counter}[{window}])) > 0"
    return f"({grown} or sum by ({by}) ({counter} unless {counter} offset {window}) > 0)"


_NOT_SENT: Final = '{outcome!="sent"}'


def _spans(which: str = "") -> str:
    """Return the rate of spans of each facade and engine."""
    names = ("productsearch_spans_total", "productsearch_engine_spans_total")
    return " or ".join(f"sum by (instance) (rate({name}{which}[<10m>]))" for name in names)


def _answered(reason: str) -> str:
    """Return whether an upstream answered so lately: also to items of streams that did not fail."""
    return _grown(f'{_POSTS}{{outcome="{reason}"}}', "library")


def _seen_of_others(reason: str) -> str:
    """Return whether a reason is seen of a library whose upstream is not down.

    One that goes down leaves answers cut and adds unsettled behind: one incident, one alert.
    """
    down = 'ALERTS{alertname="UpstreamDown",alertstate="firing"}[<30m>]'
    seen = _grown(f'{_ERRORS}{{reason="{reason}"}}', "library", "<20m>")
    return f"{seen} unless on (library) max by (library) (max_over_time({down}))"


_NEW_PAIR: Final = (
    'min by (library) (productsearch_token_state{state="fresh"}) == 1 and on (library)'
    " max by (library) (label_replace(max_over_time(productsearch_files_broken[<11m>]),"
    r' "library", "$1", "what", "libraries\\.(.*)\\.credentials_dir")) == 1'
)
"""A new key pair is not in use, or was not lately, and the token of the one before is fresh: nobody
asks for another one with that pair, so that the new one is refused, of which FileBroken speaks."""

_NO_ANSWER: Final = "TIMEOUT|UNREACHABLE|CANCELLED"
_SILENT: Final = (
    f'sum by (library) (rate({_POSTS}{{outcome="TIMEOUT"}}[<5m>])) > 0 unless on (library)'
    f' sum by (library) (rate({_POSTS}{{outcome!~"{_NO_ANSWER}"}}[<5m>])) > 0'
)
"""Requests go out and none is answered; where callers' own deadlines end them no breaker opens."""

_REFUSED_CALLERS: Final = 'rpc_status_code=~"UNAUTHENTICATED|PERMISSION_DENIED"'
_OTHER_CALLS: Final = _REFUSED_CALLERS.replace("=~", "!~")
_SHUT_OUT: Final = (
    f"(sum by (instance) (rate({_CALLS}_count{{{_REFUSED_CALLERS}}}[<5m>])) > on () group_left"
    f' 0.5 * avg(sum by (instance) (rate({_CALLS}_count{{rpc_status_code="OK"}}[<6h>])) > 0))'
    f" unless on (instance)"
    f" (sum by (instance) (rate({_CALLS}_count{{{_OTHER_CALLS}}}[<5m>])) > 0)"
)
"""Of a replica all calls are refused, half as many at least as replicas served in the last hours:
one stranger in a quiet night is not all callers."""

_SLOTS: Final = "productsearch_caller_slots_total"
_ASKED: Final = f"sum by (library) (rate({_SLOTS}[<5m>]))"
_REFUSED: Final = f'sum by (library) (rate({_SLOTS}{{outcome="refused"}}[<5m>]))'
_ONE_OF_ALL: Final = (
    f"sum by (library, caller) (rate({_SLOTS}[<5m>])) / on (library) group_left {_ASKED}"
)
_OTHERS_CALL: Final = f"count by (library) (sum by (library, caller) (rate({_SLOTS}[<5m>])) > 0)"
_GIVEN: Final = f'sum by (instance, library) (rate({_SLOTS}{{outcome="given"}}[<5m>]))'
_HAS_ROOM: Final = (
    f"max by (library) ({_GIVEN} / on (instance, library) productsearch_pacer_rate) < 0.6"
)
"""No replica gives out most of its slots: what is refused wants an upstream that is quicker."""
_GREEDY: Final = (
    f"({_ONE_OF_ALL} > 0.7) and on (library) ({_REFUSED} / {_ASKED} > 0.05)"
    f" and on (library) ({_OTHERS_CALL} > 1) unless on (library) ({_HAS_ROOM})"
)
_KEY_SHARED: Final = (
    "max by (library) (max_over_time(productsearch_pacer_rate[<5m>])"
    " / productsearch_quota_limit) < 0.85"
)
_OURS: Final = '{job=~"facade|engine"}'
_FACADES: Final = '{envoy_cluster_name="facades"}'
_CUT_OFF: Final = (
    f"max(max_over_time(envoy_cluster_membership_healthy{_FACADES}[<5m>])) == 0"
    " and on () max(min_over_time(productsearch_ready[<5m>])) == 1"
)
_SQL: Final = 'productsearch_engine_stage_seconds_{}{{stage="sql"}}[<5m>]'

ALERTS: Final = (
    Alert(
        name="ServerFault",
        expr=_grown(f'{_ERRORS}{{reason="SERVER_FAULT"}}', "instance, library"),
        lasts="<0m>",
        severity="ticket",
        says="a fault of {{ $labels.instance }}'s own, in a call of library"
        " {{ $labels.library }}; its log has the traceback",
        reasons=("SERVER_FAULT",),
    ),
    Alert(
        name="ReplicaOverloaded",
        expr=f'sum by (instance) (rate({_ERRORS}{{reason="SERVER_OVERLOADED"}}[<5m>])) > 0.1',
        lasts="<5m>",
        severity="page",
        says="{{ $labels.instance }} is at its bounds and refuses calls",
        reasons=("SERVER_OVERLOADED",),
    ),
    Alert(
        name="CallersShutOut",
        expr=_SHUT_OUT,
        lasts="<2m>",
        severity="page",
        says="{{ $labels.instance }} refuses every caller, as not known or not allowed",
        reasons=("CALLER_UNAUTHENTICATED", "CALLER_FORBIDDEN"),
    ),
    Alert(
        name="CredentialsRejected",
        expr=f"({_grown(f'productsearch_token_refreshes_total{_REJECTED}', 'library')}"
        f" unless on (library) ({_NEW_PAIR})) or "
        + _grown(f"productsearch_upstream_calls_total{_REJECTED}", "library"),
        lasts="<0m>",
        severity="page",
        says="the upstream refuses the key pair of library {{ $labels.library }}, or its token",
        reasons=("UPSTREAM_CREDENTIALS_REJECTED",),
    ),
    Alert(
        name="UpstreamDown",
        expr="max by (library) (min_over_time(productsearch_breaker_open[<1m>])) == 1"
        f" or ({_SILENT})",
        lasts="<1m>",
        severity="page",
        says="the upstream of library {{ $labels.library }} fails, or answers nobody",
        reasons=("UPSTREAM_UNAVAILABLE",),
    ),
    Alert(
        name="UpstreamUnreadable",
        expr=_seen_of_others("UPSTREAM_PROTOCOL"),
        lasts="<10m>",
        severity="ticket",
        says="the upstream of library {{ $labels.library }} answers what is in no table",
        reasons=("UPSTREAM_PROTOCOL",),
    ),
    Alert(
        name="AddsUnsettled",
        expr=_seen_of_others("ADD_OUTCOME_UNKNOWN"),
        lasts="<10m>",
        severity="ticket",
        says="the upstream of library {{ $labels.library }} answers, and not to all adds: the"
        " outcome of some is not known",
        reasons=("ADD_OUTCOME_UNKNOWN",),
    ),
    Alert(
        name="LibraryMissing",
        expr=_answered("LIBRARY_NOT_READY"),
        lasts="<0m>",
        severity="ticket",
        says="the upstream has the account and not the library {{ $labels.library }}",
        reasons=("LIBRARY_NOT_READY",),
    ),
    Alert(
        name="LibraryFull",
        expr=_answered("LIBRARY_FULL"),
        lasts="<0m>",
        severity="page",
        says="library {{ $labels.library }} has no room left; adds are refused",
        reasons=("LIBRARY_FULL",),
    ),
    Alert(
        name="QuotaExhausted",
        expr="max by (library) (min_over_time(productsearch_quota_exhausted[<1m>])) == 1",
        lasts="<1m>",
        severity="page",
        says="the daily or total quota of library {{ $labels.library }} is used up",
        reasons=("QUOTA_EXHAUSTED",),
    ),
    Alert(
        name="QuotaTooSmall",
        expr=f"({_REFUSED} / {_ASKED} > 0.05) unless on (library) ({_GREEDY})"
        f" unless on (library) ({_KEY_SHARED}) unless on (library) ({_HAS_ROOM})",
        lasts="<5m>",
        severity="ticket",
        says="callers of library {{ $labels.library }} want more than its calls per second",
        reasons=("RATE_LIMITED",),
    ),
    Alert(
        name="CallerTakesQuota",
        expr=_GREEDY,
        lasts="<5m>",
        severity="ticket",
        says="{{ $labels.caller }} asks for most of library {{ $labels.library }}'s quota",
    ),
    Alert(
        name="KeyUsedElsewhere",
        expr=_KEY_SHARED,
        lasts="<5m>",
        severity="ticket",
        says="error 18 keeps coming: somebody else uses the key of library {{ $labels.library }},"
        " or its quota is less than quota_qps",
    ),
    Alert(
        name="TokenStale",
        expr='min by (library) (productsearch_token_state{state="stale"}) == 1',
        lasts="<1h>",
        severity="ticket",
        says="the token of library {{ $labels.library }} is not renewed; it is still good",
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
        expr=_grown('productsearch_audit_lines_total{outcome="lost"}', "instance"),
        lasts="<0m>",
        severity="page",
        says="{{ $labels.instance }} lost lines of the audit stream: its disk does not keep up",
    ),
    Alert(
        name="SpansLost",
        expr=f"({_spans(_NOT_SENT)}) > 0.5 * ({_spans()})",
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
        expr=f"changes(up{_OURS}[<30m>]) > 5"
        f" or changes(process_start_time_seconds{_OURS}[<30m>]) > 2",
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
        expr=_CUT_OFF,
        lasts="<5m>",
        severity="page",
        says="the gateway reaches no facade, and facades are ready",
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
        expr=f"sum by (instance) (rate({_SQL.format('sum')}))"
        f" / sum by (instance) (rate({_SQL.format('count')})) > 0.5",
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
        expr="sum by (library) (increase(productsearch_engine_recall_found_total[<6h>]))"
        " / sum by (library) (increase(productsearch_engine_recall_wanted_total[<6h>])) < 0.95",
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
