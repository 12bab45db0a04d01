"""The dashboard's rows and panels, in one table: golden signals first, then what explains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_CALLS: Final = "rpc_server_call_duration_seconds"
_HERE: Final = 'instance=~"$instance"'
_LIBRARY: Final = f'library=~"$library",{_HERE}'
_ENGINE: Final = "productsearch_engine_"


@dataclass(frozen=True)
class Panel:
    """A graph: its title, its unit as Grafana names it, what to read from it, and its queries.

    ``queries`` are pairs of an expression and a legend. ``most`` is a line to stay below.
    """

    title: str
    unit: str
    says: str
    queries: tuple[tuple[str, str], ...]
    most: float | None = None


def _rate(metric: str, *by: str, where: str = _HERE) -> str:
    return f"sum by ({', '.join(by)}) (rate({metric}{{{where}}}[$__rate_interval]))"


def _part(of: str, by: str, where: str = _HERE) -> str:
    return f"sum by ({by}) (rate({of}{{{where}}}[$__rate_interval]))"


def _quantile(share: float, metric: str, by: str, where: str = _HERE) -> str:
    return f"histogram_quantile({share}, {_rate(metric + '_bucket', 'le', by, where=where)})"


def _mean(metric: str, by: str, where: str) -> str:
    return f"{_part(metric + '_sum', by, where)} / {_part(metric + '_count', by, where)}"


def _now(over: str, metric: str, *by: str, where: str = _LIBRARY) -> str:
    return f"{over} by ({', '.join(by)}) ({metric}{{{where}}})"


_TOKENS: Final = (
    f"sum by (library, outcome) (productsearch_token_refreshes_total{{{{{_LIBRARY}}}}}{{}})"
)
_STAGES: Final = f"{_ENGINE}stage_seconds"
_FACADES: Final = '{envoy_cluster_name="facades"}'
_I: Final = "$__rate_interval"

ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    (
        "Golden signals: do callers notice?",
        (
            Panel(
                "Calls",
                "reqps",
                "Calls that ended, by method. A method that falls to nothing has lost its callers.",
                ((_rate(f"{_CALLS}_count", "rpc_method"), "{{rpc_method}}"),),
            ),
            Panel(
                "Errors by blame",
                "reqps",
                "Who has to act: caller, facade, quota or upstream. none is an answer.",
                ((_rate("productsearch_errors_total", "blame"), "{{blame}}"),),
            ),
            Panel(
                "Time of a search",
                "s",
                "Half and 99 of 100 searches are quicker. The next row says whose time it is.",
                tuple(
                    (
                        _quantile(share, _CALLS, "rpc_method", f'{_HERE},rpc_method=~".*Search.*"'),
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
                        f"max by (kind) (productsearch_rpcs_in_flight{{{_HERE}}}"
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
                        _rate("productsearch_errors_total", "reason", "blame", "library"),
                        "{{blame}}: {{reason}} {{library}}",
                    ),
                ),
            ),
            Panel(
                "Items of bulk streams and batches",
                "reqps",
                "By outcome, reason and caller. On the wire a stream is OK even if all items fail.",
                (
                    (
                        _rate("productsearch_items_total", "outcome", "reason", "caller"),
                        "{{outcome}} {{reason}} {{caller}}",
                    ),
                ),
            ),
            Panel(
                "Time of the upstream and of the queue, mean",
                "s",
                "An attempt at the upstream, and a wait for a slot of the quota. What is left of a "
                "call's time is the facade's.",
                (
                    (
                        f"{_part('productsearch_upstream_seconds_total', 'library', _LIBRARY)}"
                        f" / {_part('productsearch_upstream_calls_total', 'library', _LIBRARY)}",
                        "upstream {{library}}",
                    ),
                    (
                        _mean("productsearch_pacer_wait_seconds", "library", _LIBRARY),
                        "queue {{library}}",
                    ),
                ),
            ),
            Panel(
                "Attempts at the upstream by outcome",
                "reqps",
                "UNREACHABLE and TIMEOUT got no answer; other words are what its answers became.",
                (
                    (
                        _rate("productsearch_upstream_calls_total", "outcome", where=_LIBRARY),
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
                        _now("max", "productsearch_breaker_open", "library"),
                        "open {{library}}",
                    ),
                    (
                        _rate(
                            "productsearch_breaker_refusals_total",
                            "library",
                            "gate",
                            where=_LIBRARY,
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
                        _rate("productsearch_upstream_retries_total", "library", where=_LIBRARY),
                        "retries {{library}}",
                    ),
                    (
                        _now("min", "productsearch_retry_budget", "library"),
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
                        _now("sum", "productsearch_quota_limit", "library"),
                        "limit {{library}}",
                    ),
                    (
                        _now("sum", "productsearch_pacer_rate", "library"),
                        "rate {{library}}",
                    ),
                    (
                        _rate("productsearch_upstream_calls_total", "library", where=_LIBRARY),
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
                        _rate(
                            "productsearch_caller_slots_total",
                            "caller",
                            "library",
                            "outcome",
                            where=_LIBRARY,
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
                        _now("min", "productsearch_caller_headroom_seconds", "caller", "library"),
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
                        _now("sum", "productsearch_pacer_waiting", "library"),
                        "waiting {{library}}",
                    ),
                    (
                        _rate("productsearch_pacer_refusals_total", "library", where=_LIBRARY),
                        "refused {{library}}",
                    ),
                    (
                        _now("max", "productsearch_quota_exhausted", "library"),
                        "exhausted {{library}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Tokens, certificates, readiness",
        (
            Panel(
                "Token: time left",
                "s",
                "A token lives 30 days and is renewed at 80 to 90 % of that.",
                (
                    (
                        _now("min", "productsearch_token_left_seconds", "library"),
                        "{{library}}",
                    ),
                ),
            ),
            Panel(
                "Requests for a token",
                "short",
                "In an hour, by outcome: ok, or why there was none.",
                (
                    (
                        # increase() does not see the first one, for which the series is made.
                        f"clamp_min({_TOKENS.format('')} - ({_TOKENS.format(' offset 1h')}"
                        f" or {_TOKENS.format('')} * 0), 0)",
                        "{{library}} {{outcome}}",
                    ),
                ),
            ),
            Panel(
                "Days that certificates and key pairs have left",
                "d",
                "Certificates in use, and key pairs with a day set in key_pair_ends.",
                (
                    (
                        _now("min", "productsearch_certificate_days_left", "what", where=_HERE),
                        "{{what}}",
                    ),
                    (
                        _now("min", "productsearch_key_pair_days_left", "library"),
                        "key pair {{library}}",
                    ),
                ),
            ),
            Panel(
                "Ready, broken files",
                "short",
                "Replicas and libraries that are ready; files whose change is not in use.",
                (
                    (f"sum(productsearch_ready{{{_HERE}}})", "replicas ready"),
                    (
                        _now("min", "productsearch_library_ready", "library"),
                        "{{library}}",
                    ),
                    (
                        _now("sum", "productsearch_files_broken", "what", where=_HERE),
                        "broken {{what}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Callers and replicas",
        (
            Panel(
                "Calls by caller",
                "reqps",
                "Callers that the policy lists, up to a hundred; the rest are other.",
                ((_rate("productsearch_caller_rpcs_total", "caller", where=_HERE), "{{caller}}"),),
            ),
            Panel(
                "Refused callers",
                "reqps",
                "By code: who is not known, may not, asks for too much; beside the calls of all.",
                (
                    (_rate("productsearch_caller_rpcs_total", where=_HERE), "all"),
                    (
                        _rate(
                            "productsearch_caller_rpcs_total",
                            "caller",
                            "code",
                            where=f'{_HERE},code=~"UNAUTHENTICATED|PERMISSION_DENIED|RESOURCE_EXHAUSTED"',
                        ),
                        "{{caller}} {{code}}",
                    ),
                ),
            ),
            Panel(
                "Bytes under way, of their bounds",
                "percentunit",
                "Of requests, by kind.",
                (
                    (
                        f"max by (kind) (productsearch_rpc_bytes_in_flight{{{_HERE}}}"
                        " / on (instance, job, kind) productsearch_rpc_bytes_limit)",
                        "{{kind}}",
                    ),
                ),
                1,
            ),
            Panel(
                "Memory of the facades",
                "bytes",
                "docs/operating.md, Memory, says what a replica takes with all bounds reached.",
                ((f'process_resident_memory_bytes{{job="facade",{_HERE}}}', "{{instance}}"),),
            ),
            Panel(
                "Processor of the facades",
                "percentunit",
                "A replica has one event loop: at 1 it can do no more. Start more replicas.",
                (
                    (
                        f'rate(process_cpu_seconds_total{{job="facade",{_HERE}}}[$__rate_interval])',
                        "{{instance}}",
                    ),
                ),
            ),
            Panel(
                "Searches answered from memory",
                "reqps",
                "hit: from the cache; joined: with a twin under way; searched: on their own.",
                (
                    (
                        _rate("productsearch_search_cache_total", "outcome", where=_LIBRARY),
                        "{{outcome}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Engine",
        (
            Panel(
                "Answers by code",
                "reqps",
                "0 is success. Codes are the contract's: docs/engine.md.",
                ((f"sum by (code) (rate({_ENGINE}requests_total[$__rate_interval]))", "{{code}}"),),
            ),
            Panel(
                "Parts of a call, mean",
                "s",
                "decode and embed are the processor's, sql the database's; waits are for a process "
                "or a connection that is not free.",
                (
                    (
                        f"sum by (stage) (rate({_STAGES}_sum[$__rate_interval]))"
                        f" / sum by (stage) (rate({_STAGES}_count[$__rate_interval]))",
                        "{{stage}}",
                    ),
                ),
            ),
            Panel(
                "Connections to the database",
                "short",
                "Open, idle, and calls that wait for one. 0 up: it does not answer.",
                (
                    (f"sum({_ENGINE}pool_connections)", "open"),
                    (f"sum({_ENGINE}pool_idle)", "idle"),
                    (f"sum({_ENGINE}pool_waiting)", "waiting"),
                    (f"min({_ENGINE}database_up)", "up"),
                ),
            ),
            Panel(
                "Images, of the room for them",
                "percentunit",
                "At 1 adds are LIBRARY_FULL.",
                (
                    (
                        f"max by (library) ({_ENGINE}library_images / {_ENGINE}library_capacity)",
                        "{{library}}",
                    ),
                ),
                0.9,
            ),
            Panel(
                "Indexes of vectors",
                "bytes",
                "Searches are quick while these fit into the memory.",
                ((f"max({_ENGINE}nearest_index_bytes)", "size"),),
            ),
            Panel(
                "What the database has to tidy up",
                "short",
                "Invalid indexes, dead rows, changes of embedding under way.",
                (
                    (f"max({_ENGINE}indexes_invalid)", "invalid indexes"),
                    (f"max({_ENGINE}dead_rows)", "dead rows"),
                    (f"max({_ENGINE}reembeddings)", "changes of embedding"),
                ),
            ),
        ),
    ),
    (
        "Gateway (Envoy)",
        (
            Panel(
                "Facades that get calls",
                "short",
                "Of how many; ejected ones failed too often in a row.",
                (
                    (f"min(envoy_cluster_membership_healthy{_FACADES})", "healthy"),
                    (f"max(envoy_cluster_membership_total{_FACADES})", "all"),
                    (f"max(envoy_cluster_outlier_detection_ejections_active{_FACADES})", "ejected"),
                ),
            ),
            Panel(
                "Calls of the gateway, retries, refused",
                "reqps",
                "Handed to facades; repeated: what no facade had begun; refused by the rate "
                "limit. Its log names the caller of a refused call: flags=RL.",
                (
                    (f"sum(rate(envoy_cluster_upstream_rq_total{_FACADES}[{_I}]))", "calls"),
                    (f"sum(rate(envoy_cluster_upstream_rq_retry{_FACADES}[{_I}]))", "retries"),
                    (f"sum(rate(envoy_http_local_rate_limit_rate_limited[{_I}]))", "refused"),
                ),
            ),
            Panel(
                "Connections from the gateway to the facades that fail",
                "reqps",
                "Refused or timed out, and closed with calls under way. Facades that are ready and "
                "cannot be reached: address, port, network policy.",
                (
                    (
                        f"sum(rate(envoy_cluster_upstream_cx_connect_fail{_FACADES}[{_I}]))",
                        "failed",
                    ),
                    (
                        "sum(rate(envoy_cluster_upstream_cx_destroy_with_active_rq"
                        f"{_FACADES}[{_I}]))",
                        "broken",
                    ),
                ),
            ),
            Panel(
                "Time of a call, from the gateway to a facade and back",
                "s",
                "99 of 100 calls are quicker. Far above the time of a search: the way between.",
                (
                    (
                        "histogram_quantile(0.99, sum by (le) (rate("
                        f"envoy_cluster_upstream_rq_time_bucket{_FACADES}[{_I}]))) / 1000",
                        "99 %",
                    ),
                ),
            ),
        ),
    ),
)
