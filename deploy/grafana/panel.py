"""A panel of the dashboard, and the words that its queries are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CALLS: Final = "rpc_server_call_duration_seconds"
HERE: Final = 'instance=~"$instance"'
LIBRARY: Final = f'library=~"$library",{HERE}'


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


def rate(metric: str, *by: str, where: str = HERE) -> str:
    """Return how often a counter grows in a second, by labels."""
    return f"sum by ({', '.join(by)}) (rate({metric}{{{where}}}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str, where: str = HERE) -> str:
    """Return the time that a share of what a histogram has seen is below, by a label."""
    return f"histogram_quantile({share}, {rate(metric + '_bucket', 'le', by, where=where)})"


def mean(metric: str, by: str, where: str = HERE) -> str:
    """Return the mean of what a histogram has seen, by a label."""
    return f"{rate(metric + '_sum', by, where=where)} / {rate(metric + '_count', by, where=where)}"


def now(over: str, metric: str, *by: str, where: str = LIBRARY) -> str:
    """Return a state of now: ``over`` (sum, max, min) those that have the same labels."""
    return f"{over} by ({', '.join(by)}) ({metric}{{{where}}})"
