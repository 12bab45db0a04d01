"""The dashboard's rows about tokens, files, callers and each replica."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panel import HERE, LIBRARY, Panel, now, rate

_TOKENS: Final = (
    f"sum by (library, outcome) (productsearch_token_refreshes_total{{{{{LIBRARY}}}}}{{}})"
)

REPLICAS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    (
        "Tokens, certificates, readiness",
        (
            Panel(
                "Token: time left",
                "s",
                "A token lives 30 days and is renewed at 80 to 90 % of that.",
                (
                    (
                        now("min", "productsearch_token_left_seconds", "library"),
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
                        now("min", "productsearch_certificate_days_left", "what", where=HERE),
                        "{{what}}",
                    ),
                    (
                        now("min", "productsearch_key_pair_days_left", "library"),
                        "key pair {{library}}",
                    ),
                ),
            ),
            Panel(
                "Ready, broken files",
                "short",
                "Replicas and libraries that are ready; files whose change is not in use.",
                (
                    (f"sum(productsearch_ready{{{HERE}}})", "replicas ready"),
                    (
                        now("min", "productsearch_library_ready", "library"),
                        "{{library}}",
                    ),
                    (
                        now("sum", "productsearch_files_broken", "what", where=HERE),
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
                "Bytes under way, of their bounds",
                "percentunit",
                "Of requests, by kind.",
                (
                    (
                        f"max by (kind) (productsearch_rpc_bytes_in_flight{{{HERE}}}"
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
                ((f'process_resident_memory_bytes{{job="facade",{HERE}}}', "{{instance}}"),),
            ),
            Panel(
                "Processor of the facades",
                "percentunit",
                "A replica has one event loop: at 1 it can do no more. Start more replicas.",
                (
                    (
                        f'rate(process_cpu_seconds_total{{job="facade",{HERE}}}[$__rate_interval])',
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
                        rate("productsearch_search_cache_total", "outcome", where=LIBRARY),
                        "{{outcome}}",
                    ),
                ),
            ),
            Panel(
                "Lines of the audit stream",
                "reqps",
                "lost: the disk that has it is full, or slow.",
                ((rate("productsearch_audit_lines_total", "outcome"), "{{outcome}}"),),
            ),
        ),
    ),
)
