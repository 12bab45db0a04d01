"""What alert cases are made of: series with their values as promtool writes them.

Values are thirty seconds apart: ``0+1x80`` is a counter that grows by one each time, ``1x80`` a
state that stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Series = dict[str, str]

STEPS: Final = 160
"""Of thirty seconds: beyond the longest ``for``."""
ASKED: Final = 'up{job="prometheus",instance="p"}'
"""Prometheus was there, as in each case that does not say otherwise."""


@dataclass(frozen=True)
class Case:
    """Series with which the alert fires, and with which no alert does."""

    fires: Series
    silent: Series


def errors(reason: str, blame: str, step: float, **labels: str) -> Series:
    told = {"reason": reason, "blame": blame, "breaker": "-"}
    own = {"instance": "a", "method": "AddImage", "library": "l", **told, **labels}
    inner = ",".join(f'{name}="{value}"' for name, value in own.items())
    return {f"productsearch_errors_total{{{inner}}}": f"0+{step}x{STEPS}"}


def state(name: str, value: str, **labels: str) -> Series:
    inner = ",".join(f'{name}="{text}"' for name, text in ({"instance": "a"} | labels).items())
    return {f"{name}{{{inner}}}": f"{value}x{STEPS}"}


def slots(caller: str, given: float, refused: float) -> Series:
    start = f'productsearch_caller_slots_total{{instance="a",library="l",caller="{caller}",outcome='
    return {
        f'{start}"given"}}': f"0+{given}x{STEPS}",
        f'{start}"refused"}}': f"0+{refused}x{STEPS}",
    }


def rate(rate: str) -> Series:
    return state("productsearch_pacer_rate", rate, library="l") | state(
        "productsearch_quota_limit", "10", library="l"
    )


def recall(found: str) -> Series:
    labels = '{instance="a",library="l"}'
    return {
        f"productsearch_engine_recall_found_total{labels}": f"0+{found}x{STEPS}",
        f"productsearch_engine_recall_wanted_total{labels}": f"0+10x{STEPS}",
    }


def spans(server: str, outcome: str, lost: int, sent: int) -> Series:
    start = f'productsearch_{server}spans_total{{instance="{server}a",outcome='
    return {
        f'{start}"{outcome}"}}': f"0+{lost}x{STEPS}",
        f'{start}"sent"}}': f"0+{sent}x{STEPS}",
    }


def seen(reason: str, blame: str) -> Case:
    """Some errors a minute; the silent case had its last ones long ago."""
    ((series, _),) = errors(reason, blame, 1).items()
    return Case({series: f"_x4 1+0.1x{STEPS}"}, {series: f"5x{STEPS}"})


def answered(reason: str) -> Case:
    """The same of what the upstream answers, each item of a stream by itself."""
    ((series, _),) = posts(reason, 1).items()
    return Case({series: f"_x4 1+0.1x{STEPS}"}, {series: f"5x{STEPS}"})


def until_lately(reason: str, library: str = "l") -> Series:
    """Some errors a minute, the last ones four minutes before the end."""
    ((series, _),) = errors(reason, "upstream", 1, library=library).items()
    return {series: f"_x4 1+0.1x{STEPS - 13} 20x8"}


def breaker(values: str) -> Series:
    return {'productsearch_breaker_open{instance="a",library="l"}': values}


def refused(gate: str, values: str = f"0+1x{STEPS}") -> Series:
    labels = f'instance="a",library="l",gate="{gate}"'
    return {f"productsearch_breaker_refusals_total{{{labels}}}": values}


def rejected(metric: str) -> Series:
    labels = 'library="l",outcome="UPSTREAM_CREDENTIALS_REJECTED"'
    return {f"productsearch_{metric}_total{{{labels}}}": f"_x140 1x{STEPS - 140}"}


def on(name: str, **labels: str) -> Case:
    """A state that is 1 all the time, and one that is so now and then."""
    ((series, _),) = state(name, "1", **labels).items()
    return Case({series: f"1x{STEPS}"}, {series: "1 1 0 0 " * (STEPS // 4)})


def while_called(name: str, gate: str) -> Case:
    """The same, while the gate refuses calls."""
    case = on(name, library="l")
    return Case(case.fires | refused(gate), case.silent | refused(gate))


def sql(mean_s: float) -> Series:
    start = 'productsearch_engine_stage_seconds_{}{{stage="sql",instance="e"}}'
    return {start.format("sum"): f"0+{10 * mean_s}x{STEPS}", start.format("count"): f"0+10x{STEPS}"}


def alike(*digests: str) -> Series:
    """Replicas by the digest of their settings."""
    start = "productsearch_settings_info"
    told = {f"r{n}": digest for n, digest in enumerate(digests)}
    return {
        f'{start}{{job="f",instance="{r}",settings="{d}"}}': f"1x{STEPS}" for r, d in told.items()
    }


def facades(healthy: str, ready: str) -> Series:
    """What the gateway sees of the facades, and what they say of themselves."""
    name = "envoy_cluster_membership_healthy"
    return state(name, healthy, envoy_cluster_name="facades") | {
        'productsearch_ready{instance="f"}': ready
    }


def posts(outcome: str, step: float) -> Series:
    labels = f'library="l",method="search",outcome="{outcome}"'
    return {f"productsearch_upstream_calls_total{{{labels}}}": f"9+{step}x{STEPS}"}


def calls(code: str, values: str) -> Series:
    labels = f'instance="a",rpc_method="m",rpc_status_code="{code}"'
    return {f"rpc_server_call_duration_seconds_count{{{labels}}}": values}
