"""The dashboard's rows about what is behind the facade, and what is before it."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panel import Panel

_ENGINE: Final = "productsearch_engine_"
_STAGES: Final = f"{_ENGINE}stage_seconds"
_FACADES: Final = '{envoy_cluster_name="facades"}'
_I: Final = "$__rate_interval"

AROUND: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
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
            Panel(
                "Handshakes with callers that fail",
                "reqps",
                "A caller whose certificate has ended or is not ours has no line and no count "
                "elsewhere. Its own log, or the gateway's at debug level, names it.",
                (
                    (f"sum(rate(envoy_listener_ssl_fail_verify_error[{_I}]))", "not trusted"),
                    (f"sum(rate(envoy_listener_ssl_fail_verify_no_cert[{_I}]))", "no certificate"),
                    (f"sum(rate(envoy_listener_ssl_connection_error[{_I}]))", "other"),
                ),
            ),
        ),
    ),
)
