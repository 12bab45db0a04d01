"""The fake upstream with a library for each thing that an upstream can answer.

The name of a library is its API key, so a token says whose call it came with.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs

from tests.fakes.upstream import FakeUpstream, Fault, Received, error, search_answer

LOG_ID: Final = 2**64 - 1
_SLOW_S: Final = 0.2
_DRAINED_S: Final = 0.02

Answer = Callable[["ScriptedUpstream", str, dict[str, str]], Any]


class ScriptedUpstream(FakeUpstream):
    """A fake upstream; ``libraries`` are the names that it has a script for."""

    def __init__(self) -> None:
        super().__init__()
        self.briefs: Counter[str] = Counter()
        """Briefs of the adds to ``once-each``."""
        self.echo = ""
        self.always("token", _token)
        for method in ("add", "search", "update", "delete"):
            self.always(method, self._scripted)

    def calls_of(self, library: str) -> int:
        """Return how many calls arrived for a library, token calls apart."""
        return sum(_library(call) == library for call in self.calls)

    def _scripted(self, request: Received) -> Any:
        library = _library(request)
        if library.startswith("code-"):
            code = int(library.removeprefix("code-"))
            sign = {"cont_sign": "4294967295,8"} if code == 216681 else {}
            return error(code, "as it said", log_id=LOG_ID, **sign)
        script = SCRIPTS.get(library, _good)
        # An image of megabytes is not worth parsing.
        small = request.body if len(request.body) < 100_000 else b""
        fields = parse_qs(small.decode(), keep_blank_values=True)
        return script(self, request.method, {name: values[0] for name, values in fields.items()})


def _library(request: Received) -> str:
    return request.token.partition("_")[2]


def _token(request: Received) -> Any:
    library = parse_qs(request.body.decode())["client_id"][0]
    if library == "unknown-client":
        said = b'{"error": "invalid_client", "error_description": "unknown client id"}'
        return Fault(status=401, body=said)
    # Every call gives another token, as the vendor's does: a rejected one must not come again.
    return {
        "access_token": f"24.token-{time.monotonic_ns()}_{library}",
        "expires_in": 2592000,
        "scope": "brain_all_scope",
    }


def _good(_: ScriptedUpstream, method: str, __: dict[str, str]) -> Any:
    if method == "search":
        return search_answer(("1,2", 0.9, "a brief"), log_id=LOG_ID)
    return {"log_id": LOG_ID, "cont_sign": "1,2"} if method == "add" else {"log_id": LOG_ID}


def _echo(upstream: ScriptedUpstream, method: str, fields: dict[str, str]) -> Any:
    if method == "add":
        upstream.echo = fields["brief"]
        return {"log_id": LOG_ID, "cont_sign": "1,2"}
    return search_answer(("1,2", 0.9, upstream.echo), log_id=LOG_ID)


def _nine_is_missing(_: ScriptedUpstream, __: str, fields: dict[str, str]) -> Any:
    if "9,9" in fields["cont_sign"].split(";"):
        return error(216680, "item not exist", log_id=LOG_ID)
    return {"log_id": LOG_ID}


def _every_fifth_missing(_: ScriptedUpstream, __: str, fields: dict[str, str]) -> Any:
    start = int(fields["pn"])
    end = min(start + int(fields["rn"]), 25)
    hits = [(f"{rank},1", 1 - rank / 100, "b") for rank in range(start, end) if rank % 5]
    return search_answer(*hits, has_more=end < 25)


def _second_page_fails(_: ScriptedUpstream, __: str, fields: dict[str, str]) -> Any:
    if fields["pn"] != "0":
        return error(216017, "not initialized", log_id=LOG_ID)
    return search_answer(("1,1", 0.9, "b"), has_more=True)


def _bulk(_: ScriptedUpstream, __: str, fields: dict[str, str]) -> Any:
    if fields["brief"] == "duplicate":
        return error(216681, "item has existed", log_id=LOG_ID, cont_sign="8,9")
    if fields["brief"] == "full":
        return error(990001, "library is full", log_id=LOG_ID)
    if fields["brief"] == "slow":
        time.sleep(_SLOW_S)
    return {"log_id": LOG_ID, "cont_sign": "1,2"}


def _once_each(upstream: ScriptedUpstream, __: str, fields: dict[str, str]) -> Any:
    upstream.briefs[fields["brief"]] += 1
    time.sleep(_DRAINED_S)
    return {"log_id": LOG_ID, "cont_sign": "1,2"}


SCRIPTS: Final[dict[str, Answer]] = {
    "plain": _good,
    "largest-log-id": _good,
    "one-call-in-20-s": _good,
    "fault": _good,
    "hurried": _good,
    "ends-early": _good,
    "breaks-off": _good,
    "out-of-reach": _good,
    "unknown-client": _good,
    "empty": lambda *_: search_answer(log_id=LOG_ID),
    "answers-cut-off": lambda *_: Fault(kind="cut"),
    "web-page": lambda *_: b"<html>fine</html>",
    "echo": _echo,
    "nine-is-missing": _nine_is_missing,
    "every-fifth-missing": _every_fifth_missing,
    "second-page-fails": _second_page_fails,
    "bulk": _bulk,
    "once-each": _once_each,
}
"""What each library is answered with; ``code-N`` beside these is answered with error N."""
