"""The longer expressions of the alerts, and the metrics that they ask.

Durations stand in angle brackets, as in ``table``.
"""

from __future__ import annotations

from typing import Final

ERRORS: Final = "productsearch_errors_total"
CALLS: Final = "rpc_server_call_duration_seconds"
POSTS: Final = "productsearch_upstream_calls_total"
TIME: Final = "productsearch_upstream_seconds_total"
REJECTED: Final = '{outcome="UPSTREAM_CREDENTIALS_REJECTED"}'
SEARCHES: Final = 'rpc_method="productsearch.v1.ProductSearch/SearchImages"'


def grown(counter: str, by: str, window: str = "<10m>", before: str = "<12m>") -> str:
    """Return whether a counter has grown, by a label; one that has just appeared has, too.

    It has not where nobody looked before: Prometheus is new, was down, or could not ask that
    instance. ``before``: a little longer ago than ``window``, for its instances are not all asked
    in the same moment.
    """
    more = f"sum by ({by}) (increase({counter}[{window}])) > 0"
    looked = f"(up offset {window} and up offset {before})"
    appeared = (
        f"(({counter} unless {counter} offset {window}) and on () {looked})"
        f" unless on (instance) (up offset {window} == 0)"
    )
    return f"({more} or sum by ({by}) ({appeared}) > 0)"


NOT_SENT: Final = '{outcome!="sent"}'


def spans(which: str = "") -> str:
    """Return the rate of spans of each facade and engine."""
    names = ("productsearch_spans_total", "productsearch_engine_spans_total")
    return " or ".join(f"sum by (instance) (rate({name}{which}[<10m>]))" for name in names)


def answered(reason: str) -> str:
    """Return whether an upstream answered so lately: also to items of streams that did not fail."""
    return grown(f'{POSTS}{{outcome="{reason}"}}', "library")


def seen_of_others(reason: str) -> str:
    """Return whether a reason is seen of a library whose upstream is not down.

    One that goes down leaves answers cut and adds unsettled behind: one incident, one alert.
    """
    down = 'ALERTS{alertname="UpstreamDown",alertstate="firing"}[<30m>]'
    seen = grown(f'{ERRORS}{{reason="{reason}"}}', "library", "<20m>", "<22m>")
    return f"{seen} unless on (library) max by (library) (max_over_time({down}))"


NEW_PAIR: Final = (
    'min by (library) (productsearch_token_state{state="fresh"}) == 1 and on (library)'
    " max by (library) (label_replace(max_over_time(productsearch_files_broken[<11m>]),"
    r' "library", "$1", "what", "libraries\\.(.*)\\.credentials_dir")) == 1'
)
"""A new key pair is not in use, or was not lately, and the token of the one before is fresh: nobody
asks for another one with that pair, so that the new one is refused, of which FileBroken speaks."""

_REFUSALS: Final = "productsearch_breaker_refusals_total"
CALLED: Final = f"{grown(POSTS, 'library')} or {grown(_REFUSALS, 'library')}"
"""Somebody calls: a breaker that nobody asks stays open, whatever became of the upstream."""
_NO_ANSWER: Final = "TIMEOUT|UNREACHABLE|CANCELLED"
SILENT: Final = (
    f'sum by (library) (increase({POSTS}{{outcome="TIMEOUT"}}[<5m>])) > 2.5 unless on (library)'
    f' sum by (library) (rate({POSTS}{{outcome!~"{_NO_ANSWER}"}}[<5m>])) > 0'
)
"""Requests go out and none is answered; where callers' own deadlines end them no breaker opens. One
or two say little: a deadline may have been too short."""

_GATE: Final = f'{_REFUSALS}{{gate="quota"}}'
QUOTA_ASKED: Final = f"{grown(_GATE, 'library')} or " + grown(
    f'{POSTS}{{outcome="QUOTA_EXHAUSTED"}}', "library"
)
"""Somebody is refused: the gate learns from a call that there is quota again, and from nothing
else."""

REJECTED_CALLS: Final = " or ".join(
    grown(f'{counter}{{reason="UPSTREAM_CREDENTIALS_REJECTED"}}', "library")
    for counter in (ERRORS, "productsearch_items_total")
)
"""Callers were told. A request whose token was rejected is repeated with a new one first, and as a
rule succeeds."""

_REFUSED_CALLERS: Final = 'rpc_status_code=~"UNAUTHENTICATED|PERMISSION_DENIED"'
_OTHER_CALLS: Final = _REFUSED_CALLERS.replace("=~", "!~")
SHUT_OUT: Final = (
    f"(sum by (instance) (rate({CALLS}_count{{{_REFUSED_CALLERS}}}[<5m>])) > on () group_left"
    f' 0.5 * avg(sum by (instance) (rate({CALLS}_count{{rpc_status_code="OK"}}[<6h>])) > 0))'
    f" unless on (instance)"
    f" (sum by (instance) (rate({CALLS}_count{{{_OTHER_CALLS}}}[<5m>])) > 0)"
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
SHORT: Final = f"({_REFUSED} / {_ASKED} > 0.05 and {_REFUSED} > 0.02)"
"""Of the calls that ask for slots a twentieth is refused, and more than one now and then."""
_GIVEN: Final = f'sum by (instance, library) (rate({_SLOTS}{{outcome="given"}}[<5m>]))'
HAS_ROOM: Final = (
    f"max by (library) ({_GIVEN} / on (instance, library) productsearch_pacer_rate) < 0.6"
)
"""No replica gives out most of its slots: what is refused wants an upstream that is quicker."""
GREEDY: Final = (
    f"({_ONE_OF_ALL} > 0.7) and on (library) {SHORT} and on (library) ({_OTHERS_CALL} > 1)"
    f" unless on (library) ({HAS_ROOM})"
)
KEY_SHARED: Final = (
    "max by (library) (max_over_time(productsearch_pacer_rate[<5m>])"
    " / productsearch_quota_limit) < 0.85"
)
OURS: Final = '{job=~"facade|engine"}'
_FACADES: Final = '{envoy_cluster_name="facades"}'
CUT_OFF: Final = (
    f"max by (instance) (max_over_time(envoy_cluster_membership_healthy{_FACADES}[<5m>])) == 0"
    " and on () max(min_over_time(productsearch_ready[<5m>])) == 1"
)
SQL: Final = 'productsearch_engine_stage_seconds_{}{{stage="sql"}}[<5m>]'
RECALLED: Final = "sum by (library) (increase(productsearch_engine_recall_{}_total[<6h>]))"
MISSED: Final = (
    f"({RECALLED.format('found')} / {RECALLED.format('wanted')} < 0.95)"
    f" and on (library) {RECALLED.format('wanted')} > 200"
)
"""Of so many ranks that it is no matter of a few searches."""
