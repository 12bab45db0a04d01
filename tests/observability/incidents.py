"""The decision table: what the dashboard's panels show in each incident, and whose fault it is.

``docs/operating.md`` has the same table in words. A sign is read from the queries of one panel, so
that whoever looks at the dashboard can read it too. An incident is named by the signs that are
there, those that may be, and by the absence of all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from deploy.grafana.panels import ROWS

Series = Sequence[tuple[Mapping[str, str], float]]
"""What a query gives at one time: labels and value."""


@dataclass(frozen=True)
class Shown:
    """What a panel shows: its queries' series by legend, now and some minutes ago."""

    now: Mapping[str, Series]
    before: Mapping[str, Series]

    def most(self, legend: str, **labels: str) -> float:
        """Return the largest value of a query among series with these labels; none: -1."""
        found = (
            value
            for series, value in self.now[legend]
            if all(series.get(name) == wanted for name, wanted in labels.items())
        )
        return max((value for value in found if value == value), default=-1.0)


@dataclass(frozen=True)
class Sign:
    """Something that a panel shows, in words and as a rule."""

    panel: str
    says: str
    is_there: Callable[[Shown], bool]


def _blames(who: str) -> Sign:
    def is_there(shown: Shown) -> bool:
        by_blame = {
            labels["blame"]: value
            for labels, value in shown.now["{{blame}}"]
            if labels["blame"] != "none" and value > 0.3
        }
        return bool(by_blame) and who == max(by_blame, key=lambda each: by_blame[each])

    return Sign("Errors by blame", f"`{who}` highest", is_there)


def _slots_refused(shown: Shown, *, to_one: bool) -> bool:
    """Whether slots of a library are refused and one caller asks for most, or none does."""
    asked: dict[str, dict[str, float]] = {}
    refusing: set[str] = set()
    for labels, value in shown.now["{{caller}} {{library}} {{outcome}}"]:
        library, caller = labels["library"], labels["caller"]
        of_library = asked.setdefault(library, {})
        of_library[caller] = of_library.get(caller, 0.0) + value
        if labels["outcome"] == "refused" and value > 0.3:
            refusing.add(library)
    return any(
        to_one == (max(asked[each].values()) > 0.7 * sum(asked[each].values())) for each in refusing
    )


def _token_refused(shown: Shown) -> bool:
    outcome = "UPSTREAM_CREDENTIALS_REJECTED"
    return shown.most("{{library}} {{outcome}}", outcome=outcome) > 0


def _all_shut_out(shown: Shown) -> bool:
    refused = sum(
        value
        for labels, value in shown.now["{{caller}} {{code}}"]
        if labels["code"] in ("UNAUTHENTICATED", "PERMISSION_DENIED")
    )
    return refused > 0.3 and refused > 0.95 * shown.most("all")


def _one_is_slower(shown: Shown) -> bool:
    means = [value for _, value in shown.now["{{instance}}"] if value == value]
    return len(means) > 1 and max(means) > max(0.3, 5 * min(means))


def _line_ended(shown: Shown) -> bool:
    legend = "{{instance}}"
    before, now = (
        {labels["instance"] for labels, _ in of[legend]} for of in (shown.before, shown.now)
    )
    return bool(before - now)


SLOW: Final = Sign("Time of a search", "99 % above 2.5 s", lambda shown: _slow(shown) > 2.5)
CALLER: Final = _blames("caller")
FACADE: Final = _blames("facade")
QUOTA: Final = _blames("quota")
UPSTREAM: Final = _blames("upstream")
UPSTREAM_SLOW: Final = Sign(
    "Time of the upstream and of the queue, mean",
    "`upstream` above 1 s",
    lambda shown: shown.most("upstream {{library}}") > 1,
)
OPEN: Final = Sign(
    "Circuit breaker, and calls that it refused",
    "`open` at 1",
    lambda shown: shown.most("open {{library}}") == 1,
)
RATE_LOW: Final = Sign(
    "Limit, rate and use",
    "`rate` far below `limit`",
    lambda shown: 0 <= shown.most("rate {{library}}") < 0.85 * shown.most("limit {{library}}"),
)
ONE_TAKES_MOST: Final = Sign(
    "Slots by caller",
    "one caller has most of a library's, and some are `refused`",
    partial(_slots_refused, to_one=True),
)
ALL_REFUSED: Final = Sign(
    "Slots by caller",
    "no caller has most of a library's, and some are `refused`",
    partial(_slots_refused, to_one=False),
)
SHUT_OUT: Final = Sign(
    "Failed calls by caller",
    "`UNAUTHENTICATED` and `PERMISSION_DENIED` together are `all`",
    _all_shut_out,
)
SQL_SLOW: Final = Sign(
    "Parts of a call, mean",
    "`sql` above 0.5 s",
    lambda shown: shown.most("{{stage}}", stage="sql") > 0.5,
)
TOKEN_REFUSED: Final = Sign(
    "Requests for a token", "`UPSTREAM_CREDENTIALS_REJECTED`", _token_refused
)
DAYS_FEW: Final = Sign(
    "Days that certificates and key pairs have left",
    "a line below 14",
    lambda shown: any(0 <= value < 14 for series in shown.now.values() for _, value in series),
)
REPLICA_ENDED: Final = Sign("Memory of the facades", "a replica's line ends", _line_ended)
GATEWAY_SEES_FEWER: Final = Sign(
    "Facades that get calls",
    "`healthy` below `all`",
    lambda shown: 0 <= shown.most("healthy") < shown.most("all"),
)
GATEWAY_SILENT: Final = Sign(
    "Facades that get calls", "no lines", lambda shown: shown.most("all") < 0
)
GATEWAY_REFUSES: Final = Sign(
    "Calls of the gateway, retries, refused",
    "`refused` above 0",
    lambda shown: shown.most("refused") > 0.3,
)
FILE_BROKEN: Final = Sign(
    "Ready, broken files",
    "a `broken` file at 1",
    lambda shown: shown.most("broken {{what}}") >= 1,
)
IMAGE_HOST: Final = Sign(
    "Answers by code",
    "`282112` or `282113`",
    lambda shown: max(shown.most("{{code}}", code=code) for code in ("282112", "282113")) > 0.1,
)
NOT_TRUSTED: Final = Sign(
    "Handshakes with callers that fail",
    "`not trusted` above 0",
    lambda shown: shown.most("not trusted") > 0.1,
)
ONE_SLOWER: Final = Sign(
    "Time of a call by replica, mean",
    "one line above 0.3 s and five times the lowest",
    _one_is_slower,
)
NOT_READY: Final = Sign(
    "Ready, broken files",
    "a library at 0",
    lambda shown: 0 in [value for _, value in shown.now["{{library}}"]],
)


def _slow(shown: Shown) -> float:
    return shown.most("99 % {{rpc_method}}")


@dataclass(frozen=True)
class Incident:
    """A row: the signs that are there, those that may be; all others are not."""

    name: str
    signs: tuple[Sign, ...]
    perhaps: tuple[Sign, ...] = ()


_BLAMES: Final = (CALLER, FACADE, QUOTA, UPSTREAM)
_LATE: Final = (SLOW, UPSTREAM_SLOW)

INCIDENTS: Final = (
    Incident("upstream slow", (SLOW, UPSTREAM_SLOW), (*_BLAMES, ALL_REFUSED)),
    Incident("database slow", (SQL_SLOW,), (*_LATE, *_BLAMES, ALL_REFUSED)),
    Incident("image host slow", (IMAGE_HOST,), (*_LATE, CALLER, UPSTREAM)),
    Incident("replica slow", (ONE_SLOWER,), (*_LATE, GATEWAY_SEES_FEWER)),
    Incident("upstream down", (OPEN,), (UPSTREAM, NOT_READY, GATEWAY_SEES_FEWER, *_LATE)),
    Incident(
        "key pair rejected", (TOKEN_REFUSED,), (FACADE, NOT_READY, GATEWAY_SEES_FEWER, *_LATE)
    ),
    Incident("key used elsewhere", (RATE_LOW,), (QUOTA, CALLER, ALL_REFUSED, *_LATE)),
    Incident("greedy caller", (ONE_TAKES_MOST,), (QUOTA, CALLER, *_LATE)),
    Incident("quota too small", (QUOTA, ALL_REFUSED), (SLOW,)),
    Incident("bad input", (CALLER,)),
    Incident("callers shut out", (CALLER, SHUT_OUT)),
    Incident("flood", (GATEWAY_REFUSES,), (CALLER, QUOTA, ONE_TAKES_MOST, *_LATE)),
    Incident("caller not trusted", (NOT_TRUSTED,)),
    Incident("changed file not in use", (FILE_BROKEN,), (TOKEN_REFUSED,)),
    Incident("certificate ends", (DAYS_FEW,), (NOT_READY,)),
    Incident("replica gone", (REPLICA_ENDED,), (GATEWAY_SEES_FEWER,)),
    Incident("gateway cut off", (GATEWAY_SEES_FEWER,)),
    Incident("gateway gone", (GATEWAY_SILENT,)),
)

SIGNS: Final = tuple(
    dict.fromkeys(sign for each in INCIDENTS for sign in (*each.signs, *each.perhaps))
)


def row(incident: Incident) -> str:
    """Return how the row on the page begins: the incident, its signs, and panels that may move."""
    signs = "; ".join(f"*{sign.panel}*: {sign.says}" for sign in incident.signs)
    named = {sign.panel for sign in incident.signs}
    perhaps = dict.fromkeys(each.panel for each in incident.perhaps if each.panel not in named)
    return f"| {incident.name} | {signs} | {'; '.join(f'*{each}*' for each in perhaps)} |"


def queries(panel: str) -> Mapping[str, str]:
    """Return the expressions of a panel by legend."""
    (found,) = (each for _, panels in ROWS for each in panels if each.title == panel)
    return {legend: expression for expression, legend in found.queries}


def fitting(there: frozenset[Sign]) -> list[str]:
    """Return the incidents that fit what the panels show."""
    return [
        each.name
        for each in INCIDENTS
        if there.issuperset(each.signs) and there <= {*each.signs, *each.perhaps}
    ]
