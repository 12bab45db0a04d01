"""The dashboard's rows and panels, in one table: golden signals first, then what explains them."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panel import LIBRARY, Panel, mean, now, rate
from deploy.grafana.panels_around import AROUND
from deploy.grafana.panels_first import FIRST
from deploy.grafana.panels_of_replicas import REPLICAS

_ENGINES: Final = "productsearch_engine_request_seconds"
_UPSTREAM: Final = "productsearch_upstream_"

ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    *FIRST,
    (
        "Upstream: does it answer, and when?",
        (
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
                "1: open, calls are kept from an upstream that fails. It closes with the first "
                "call that is answered: without refusals nobody asks. Refusals per second.",
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
            Panel(
                "Items of bulk streams and batches",
                "reqps",
                "By outcome, reason and caller. On the wire a stream is OK even if all items fail.",
                (
                    (
                        rate("productsearch_items_total", "outcome", "reason", "caller"),
                        "{{outcome}} {{reason}} {{caller}}",
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
                            "productsearch_caller_slots_total",
                            "caller",
                            "library",
                            "outcome",
                            where=LIBRARY,
                        ),
                        "{{caller}} {{library}} {{outcome}}",
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
