"""Reads the upstream's JSON into typed answers; any other body is a typed error.

The contract's quirks end here: ``log_id`` is a number, a string or absent; ``has_more`` is a
boolean, a string or absent; error codes may be strings; pages may be unsorted. Whatever the
bytes are, reading them gives an answer or an UpstreamProtocol, never another exception.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Final

from productsearch_service import limits
from productsearch_service.errors import UpstreamProtocol, UpstreamWords
from productsearch_service.redaction import echo_secrets, echoes_secret, hides_secret, redact
from productsearch_service.upstream.masked import MaskedBytes, MaskedMembers, MaskedText

_LOG_ID_MAX: Final = 2**64 - 1
_MESSAGE_CHARS_READ: Final = 10_000
_MESSAGE_CHARS_MAX: Final = 200
_SECRET_LIKE: Final = re.compile(r"[A-Za-z0-9._~+/%=-]{12,}")
_SIGN: Final = re.compile(r"[0-9]{1,10},[0-9]{1,10}", re.ASCII)
_MASK: Final = "***"
_PARTS_MAX: Final = 20_000
"""Objects, lists and members of an answer; 1,000 results have less than half of that."""
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""One without an end goes to the end of the text, and nothing is tried twice: else a text of quotes
and backslashes costs its square."""
_BRIEF_CHARS_MAX: Final = 4 * limits.BRIEF_BYTES_MAX
"""A longer one cannot have been stored, and is cut."""
_TRUE_WORDS: Final = frozenset({"true", "1"})
_DECODER: Final = json.JSONDecoder(object_hook=MaskedMembers)


@dataclass(slots=True)
class Added:
    """Answer to an add: the signature, and the upstream's log_id (0: none).

    ``settled``: an earlier attempt's answer was lost, and a later one heard that the image is
    stored, by that attempt or before.
    """

    cont_sign: str
    log_id: int
    settled: bool = False


@dataclass(slots=True)
class Hit:
    """One result of a search; score is 0 to 1."""

    cont_sign: str
    score: float
    brief: str


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle in an upright image; each number is 0 to 1 of the image's width or height."""

    left: float
    top: float
    width: float
    height: float


@dataclass(slots=True)
class Page:
    """Answer to a search, best first. ``has_more`` is None where the upstream did not say.

    ``subject`` is where the product is, if the upstream said so.
    """

    hits: tuple[Hit, ...]
    has_more: bool | None
    log_id: int
    subject: Region | None = None


@dataclass(slots=True)
class Answer:
    """One answer: what the upstream said of itself, and its members, which may echo a secret."""

    words: UpstreamWords
    members: MaskedMembers
    failed: bool = False

    @property
    def cont_sign(self) -> str | None:
        """The signature, if there is one."""
        return _sign(self.members.get("cont_sign"))


def read(body: MaskedBytes) -> Answer:
    """Return the answer that ``body`` holds; raise UpstreamProtocol if it holds none."""
    members = _members(body)
    # Raised here, where no JSONDecodeError is being handled: it holds the whole body.
    if members is None:
        raise _unreadable("is not a JSON object")
    log_id = _log_id(members.get("log_id"))
    if "error_code" not in members:
        return Answer(UpstreamWords(log_id=log_id), members)
    code = _integer(members["error_code"])
    if code is None or not 0 < code < 2**31:
        raise _unreadable("has an error_code that is not a number", UpstreamWords(log_id=log_id))
    words = UpstreamWords(code, _printable(members.get("error_msg")), log_id)
    return Answer(words, members, failed=True)


def _members(body: MaskedBytes) -> MaskedMembers | None:
    try:
        encoding = "utf-8" if body.startswith(b'{"') else json.detect_encoding(body)
        text = body.decode(encoding, "surrogatepass")
        members = None if _has_too_many_parts(text) else _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, MaskedMembers) else None


def _has_too_many_parts(text: str) -> bool:
    """Whether the text would become far more than its length in memory: each part is an object.

    What stands in strings is not counted, which takes time: only where there may be too many.
    """
    marks = "{[,"
    if sum(map(text.count, marks)) <= _PARTS_MAX:
        return False
    bare = _STRING.sub("", text)
    return sum(map(bare.count, marks)) > _PARTS_MAX


def added(answer: Answer) -> Added:
    """Return what an add's answer says; raise UpstreamProtocol if it has no signature."""
    if answer.cont_sign is None:
        raise _unreadable("has no cont_sign", answer.words)
    return Added(answer.cont_sign, answer.words.log_id, settled=answer.failed)


def log_id(answer: Answer) -> int:
    """Return the log_id of an update's or a delete's answer: it is all that says success."""
    if "log_id" not in answer.members:
        raise _unreadable("has no log_id", answer.words)
    return answer.words.log_id


def page(answer: Answer, count: int = limits.RESULT_WINDOW) -> Page:
    """Return the ``count`` best results of a search answer, sorted: recorded pages were not always.

    A brief that echoes a secret is masked, a score outside 0 to 1 clipped.
    """
    if not isinstance(answer.members.get("result"), list):
        raise _unreadable("has no result list", answer.words)
    hits = [_hit(row, answer.words) for row in answer.members["result"]]
    hits.sort(key=lambda hit: -hit.score)
    del hits[count:]
    if echo_secrets([hit.brief for hit in hits]):
        hits = [replace(hit, brief=_MASK) if echoes_secret(hit.brief) else hit for hit in hits]
    more, subject = _has_more(answer.members.get("has_more")), answer.members.get("subject")
    return Page(tuple(hits), more, answer.words.log_id, _region(subject))


def _hit(row: object, words: UpstreamWords) -> Hit:
    if not isinstance(row, dict):
        raise _unreadable("has a result that is not an object", words)
    cont_sign, score = _sign(row.get("cont_sign")), _number(row.get("score"))
    if cont_sign is None or not isinstance(row.get("brief", ""), str) or score is None:
        raise _unreadable("has a result without cont_sign, score or brief", words)
    brief = _well_formed(MaskedText(row.get("brief", "")[:_BRIEF_CHARS_MAX]))
    return Hit(cont_sign, min(max(score, 0.0), 1.0), brief)


def _region(value: object) -> Region | None:
    """Return the rectangle that the engine names; None for the vendor, which names none."""
    if not isinstance(value, dict):
        return None
    parts = [_number(value.get(name)) for name in ("left", "top", "width", "height")]
    numbers = [part for part in parts if part is not None and 0 <= part <= 1]
    return Region(*numbers) if len(numbers) == len(parts) else None


def _sign(value: object) -> str | None:
    return value if isinstance(value, str) and _SIGN.fullmatch(value) else None


def _has_more(value: object) -> bool | None:
    if isinstance(value, str):
        return value.strip().lower() in _TRUE_WORDS
    return bool(value) if isinstance(value, bool | int) else None


def _log_id(value: object) -> int:
    number = _integer(value)
    return number if number is not None and 0 <= number <= _LOG_ID_MAX else 0


def _integer(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
        return int(value)
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _printable(message: object) -> str:
    """Return the upstream's own message in one bounded line.

    It may echo the URL with the token in it: any run that is long enough to be a part of a
    secret is masked, before the cut, which could leave a shorter piece of it.
    """
    if not isinstance(message, str):
        return ""
    masked = _SECRET_LIKE.sub(_MASK, redact(message[:_MESSAGE_CHARS_READ]))
    if hides_secret(masked):
        return _MASK
    return "".join(c if c.isprintable() else " " for c in masked[:_MESSAGE_CHARS_MAX])


def _well_formed(text: str) -> str:
    """Replace lone surrogates, which JSON can spell and protobuf cannot hold."""
    return text.encode("utf-8", "replace").decode()


def _unreadable(what: str, words: UpstreamWords | None = None) -> UpstreamProtocol:
    return UpstreamProtocol(f"the upstream's answer {what}", upstream=words)
