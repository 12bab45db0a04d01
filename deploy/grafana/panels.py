"""The dashboard's rows and panels, in one table: golden signals first, then what explains them."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panel import CALLS, HERE, LIBRARY, Panel, mean, now, quantile, rate
from deploy.grafana.panels_around import AROUND
from deploy.grafana.panels_of_replicas import REPLICAS

_ENGINES: Final = "productsearch_engine_request_seconds"
_UPSTREAM: Final = "productsearch_upstream_"

ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    (
        "Golden signals: do callers notice?",
        (
            Panel(
                "Calls",
                "reqps",
                "Calls that ended, by method. A method that falls to nothing has lost its callers.",
                ((rate(f"{CALLS}_count", "rpc_method"), "{{rpc_method}}"),),
            ),
            Panel(
                "Errors by blame",
                "reqps",
                "Who has to act: caller, facade, quota or upstream. none is an answer.",
                ((rate("productsearch_errors_total", "blame"), "{{blame}}"),),
            ),
            Panel(
                "Time of a search",
                "s",
                "Half and 99 of 100 searches are quicker. The next row says whose time it is.",
                tuple(
                    (
                        quantile(share, CALLS, "rpc_method", f'{HERE},rpc_method=~".*Search.*"'),
                        f"{name} {{{{rpc_method}}}}",
                    )
                    for share, name in ((0.5, "half"), (0.99, "99 %"))
                ),
                2.5,
            ),
            Panel(
                "Calls under way, of their bounds",
                "percentunit",
                "By kind. At 1 calls are refused with SERVER_OVERLOADED, or wait.",
                (
                    (
                        f"max by (kind) (productsearch_rpcs_in_flight{{{HERE}}}"
                        " / on (instance, job, kind) productsearch_rpcs_limit)",
                        "{{kind}}",
                    ),
                ),
                1,
            ),
        ),
    ),
    (
        "Blame: whose fault is it?",
        (
            Panel(
                "Errors by reason",
                "reqps",
                "Each reason has a section in docs/operating.md: what it means, what to do.",
                (
                    (
                        rate("productsearch_errors_total", "reason", "blame", "library"),
                        "{{blame}}: {{reason}} {{library}}",
                    ),
                ),
            ),
            Panel(
                "Failed calls by caller",
                "reqps",
                "By code: whose calls fail, beside the calls of all.",
                (
                    (rate("productsearch_caller_rpcs_total", where=HERE), "all"),
                    (
                        rate(
                            "productsearch_caller_rpcs_total",
                            "caller",
                            "code",
                            where=f'{HERE},code!~"OK|NOT_FOUND|ALREADY_EXISTS"',
                        ),
                        "{{caller}} {{code}}",
                    ),
                ),
            ),
            Panel(
                "Calls at each step, mean",
                "short",
                "How many calls are at the upstream, wait for the quota, a place, a token or "
                "another attempt, or are fitted. The highest says whose time it is; all far above "
                "the sum: the facade's, or callers that send slowly.",
                (
                    (rate(f"{CALLS}_sum"), "all"),
                    (rate(f"{_UPSTREAM}seconds_total"), "upstream"),
                    (rate("productsearch_pacer_wait_seconds_sum"), "quota"),
                    (rate("productsearch_call_waits_seconds_total", "wait"), "{{wait}}"),
                ),
            ),
            Panel(
                "Time of the upstream and of the queue, mean",
                "s",
                "An attempt at the upstream, a wait for a slot of the quota, a call as an engine "
                "sees it. upstream far above engine: the way between them.",
                (
                    (
                        f"{rate(_UPSTREAM + 'seconds_total', 'library', where=LIBRARY)}"
                        f" / {rate(_UPSTREAM + 'calls_total', 'library', where=LIBRARY)}",
                        "upstream {{library}}",
                    ),
                    (
                        mean("productsearch_pacer_wait_seconds", "library", LIBRARY),
                        "queue {{library}}",
                    ),
                    (
                        f"sum(rate({_ENGINES}_sum[$__rate_interval]))"
                        f" / sum(rate({_ENGINES}_count[$__rate_interval]))",
                        "engine, as it sees it",
                    ),
                ),
            ),
            Panel(
                "Attempts at the upstream by outcome",
                "reqps",
                "UNREACHABLE and TIMEOUT got no answer; other words are what its answers became.",
                (
                    (
                        rate("productsearch_upstream_calls_total", "outcome", where=LIBRARY),
                        "{{outcome}}",
                    ),
                ),
            ),
            Panel(
                "Circuit breaker, and calls that it refused",
                "short",
                "1: open, calls are kept from an upstream that fails. Refusals per second.",
                (
                    (
                        now("max", "productsearch_breaker_open", "library"),
                        "open {{library}}",
                    ),
                    (
                        rate(
                            "productsearch_breaker_refusals_total",
                            "library",
                            "gate",
                            where=LIBRARY,
                        ),
                        "refused {{library}} ({{gate}})",
                    ),
                ),
            ),
            Panel(
                "Retries, and what their budget has left",
                "short",
                "Retries per second. With a budget of 0 there are none: the upstream is spared.",
                (
                    (
                        rate("productsearch_upstream_retries_total", "library", where=LIBRARY),
                        "retries {{library}}",
                    ),
                    (
                        now("min", "productsearch_retry_budget", "library"),
                        "budget {{library}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Quota: who eats it?",
        (
            Panel(
                "Limit, rate and use",
                "reqps",
                "Limit: this quota. Rate: what the pacer lets through; far below, somebody "
                "else uses the key. Use: attempts that were made.",
                (
                    (
                        now("sum", "productsearch_quota_limit", "library"),
                        "limit {{library}}",
                    ),
                    (
                        now("sum", "productsearch_pacer_rate", "library"),
                        "rate {{library}}",
                    ),
                    (
                        rate("productsearch_upstream_calls_total", "library", where=LIBRARY),
                        "use {{library}}",
                    ),
                ),
            ),
            Panel(
                "Slots by caller",
                "reqps",
                "Who uses the quota, and who was refused a slot that came too late.",
                (
                    (
                        rate(
                            "productsearch_caller_slots_total", "caller", "outcome", where=LIBRARY
                        ),
                        "{{caller}} {{outcome}}",
                    ),
                ),
            ),
            Panel(
                "Headroom by caller",
                "s",
                "How much longer a call like the caller's last one could wait for a slot. Below 0 "
                "its next call is refused.",
                (
                    (
                        now("min", "productsearch_caller_headroom_seconds", "caller", "library"),
                        "{{caller}} {{library}}",
                    ),
                ),
            ),
            Panel(
                "Waiting, refused, exhausted",
                "short",
                "Calls in the queue; refusals per second; 1: the daily or total quota is used up.",
                (
                    (
                        now("sum", "productsearch_pacer_waiting", "library"),
                        "waiting {{library}}",
                    ),
                    (
                        rate("productsearch_pacer_refusals_total", "library", where=LIBRARY),
                        "refused {{library}}",
                    ),
                    (
                        now("max", "productsearch_quota_exhausted", "library"),
                        "exhausted {{library}}",
                    ),
                ),
            ),
        ),
    ),
    *REPLICAS,
    *AROUND,
)
