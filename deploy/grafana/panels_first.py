"""The dashboard's first rows: do callers notice, and is it one of many or all?"""

from __future__ import annotations

from typing import Final

from deploy.grafana.panel import CALLS, HERE, Panel, mean, quantile, rate

FIRST: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
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
        "The first minute: one of many, or all?",
        (
            Panel(
                "Errors by replica",
                "reqps",
                "One replica alone: its settings, files or network are other than the others'.",
                (
                    (
                        rate("productsearch_errors_total", "instance", "blame"),
                        "{{instance}} {{blame}}",
                    ),
                ),
            ),
            Panel(
                "Time of a call by replica, mean",
                "s",
                "One line far above the others: that replica or its way to the upstream.",
                ((mean(CALLS, "instance", f'{HERE},rpc_method!~".*Bulk.*"'), "{{instance}}"),),
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
                "Calls by caller",
                "reqps",
                "Callers that the policy lists, up to a hundred; the rest are other.",
                ((rate("productsearch_caller_rpcs_total", "caller", where=HERE), "{{caller}}"),),
            ),
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
                "Calls at each step, mean",
                "short",
                "How many calls are at the upstream, wait for the quota, a place, a token or "
                "another attempt, or are fitted. The highest says whose time it is; all far above "
                "the sum: the facade's, or callers that send slowly.",
                (
                    (rate(f"{CALLS}_sum"), "all"),
                    (rate("productsearch_upstream_seconds_total"), "upstream"),
                    (rate("productsearch_pacer_wait_seconds_sum"), "quota"),
                    (rate("productsearch_call_waits_seconds_total", "wait"), "{{wait}}"),
                ),
            ),
            Panel(
                "Since processes were started",
                "s",
                "A line that falls to 0 again and again: the process ends and is restarted.",
                (
                    (
                        'time() - process_start_time_seconds{job=~"facade|engine"}',
                        "{{job}} {{instance}}",
                    ),
                ),
            ),
            Panel(
                "Settings and policies of the replicas",
                "short",
                "How many replicas have the same, by digest. Two lines for long: one of them was "
                "left out of a rollout, or is ahead of it. DEBUG writes much, and is for a while.",
                (
                    (
                        "count by (settings, policy, log_level)"
                        f" (productsearch_settings_info{{{HERE}}})",
                        "settings {{settings}}, policy {{policy}}, {{log_level}}",
                    ),
                ),
            ),
        ),
    ),
)
