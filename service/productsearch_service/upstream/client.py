"""The four calls of the upstream, typed; tokens, pacing and retries happen underneath.

Field names and their order are the contract's; docs/wire-mapping.md has the whole table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from productsearch_service import limits
from productsearch_service.calls import Add, Added, Delete, Page, Picture, Search, Update
from productsearch_service.errors import (
    AddOutcomeUnknown,
    ServiceError,
    UpstreamProtocol,
    UpstreamUnavailable,
    UpstreamWords,
)
from productsearch_service.upstream import answers, codes, form, retry
from productsearch_service.upstream.codes import Action
from productsearch_service.upstream.transport import Transport, TransportFailure

if TYPE_CHECKING:
    from productsearch_service.calls import Target
    from productsearch_service.deadline import Deadline
    from productsearch_service.upstream.answers import Answer
    from productsearch_service.upstream.pacer import Pacer
    from productsearch_service.upstream.token import TokenSource

Fields = dict[str, str | bytes]

_PATH: Final = "/rest/2.0/image-classify/v1/realtime_search/product/"
_HTTP_OK: Final = 200
_HTTP_SERVER_FAULT: Final = 500

# What a call is answered with when an earlier attempt of it, whose answer was lost, was
# carried out after all: then the answer means success.
_DONE_BEFORE: Final = {"add": codes.DUPLICATE, "delete": codes.NOT_FOUND}


class UpstreamClient:
    """The upstream's calls for one library. Thread-safe.

    Every call raises ServiceErrors only: what the upstream's code means (see codes),
    UpstreamUnavailable, UpstreamProtocol, RateLimited, DeadlineTooShort, and for an add whose
    outcome could not be settled AddOutcomeUnknown.
    """

    def __init__(self, transport: Transport, tokens: TokenSource, pacer: Pacer) -> None:
        self._transport = transport
        self._tokens = tokens
        self._pacer = pacer

    def add(self, call: Add, deadline: Deadline) -> Added:
        """Store a picture; raise ImageAlreadyExists with its cont_sign if it is stored."""
        fields = _picture_fields(call.picture)
        fields["brief"] = call.brief
        _set_classes(fields, call)
        answer = self._call("add", fields, deadline, call.picture)
        return Added(answer.text("cont_sign"), answer.words.log_id)

    def search(self, call: Search, deadline: Deadline) -> Page:
        """Find pictures."""
        fields = _picture_fields(call.picture)
        _set_classes(fields, call)
        if call.class_id1 is not None or call.class_id2 is not None:
            fields["tag_logic"] = "1" if call.either_class else "0"
        fields["pn"] = str(call.start)
        fields["rn"] = str(call.count)
        return answers.page(self._call("search", fields, deadline, call.picture))

    def update(self, call: Update, deadline: Deadline) -> int:
        """Change a stored picture; return the log_id."""
        fields = _target_fields(call.target)
        if call.brief is not None:
            fields["brief"] = call.brief
        _set_classes(fields, call)
        return self._call("update", fields, deadline, call.target).words.log_id

    def delete(self, call: Delete, deadline: Deadline) -> int:
        """Delete one stored picture, or up to 100 by their signatures; return the log_id."""
        target = ";".join(call.target) if isinstance(call.target, tuple) else call.target
        return self._call("delete", _target_fields(target), deadline, target).words.log_id

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _call(
        self, method: str, fields: Fields, deadline: Deadline, picture: Target | None = None
    ) -> Answer:
        """Make one call, with a new token or again where that helps."""
        body = form.encode(fields)
        picture_field = picture.field if isinstance(picture, Picture) else ""
        maybe_done = replayed = False
        attempt = 1
        while True:
            outcome = self._attempt(method, body, deadline, picture_field)
            if not isinstance(outcome, _Failure):
                return outcome
            if maybe_done and outcome.answer and outcome.code == _DONE_BEFORE.get(method):
                return outcome.answer
            maybe_done |= outcome.maybe_done
            if outcome.action is Action.NEW_TOKEN and not replayed:
                replayed = True
                continue
            if outcome.action is Action.BACK_OFF and retry.back_off(
                attempt, outcome.code, deadline
            ):
                attempt += 1
                continue
            if method == "add" and maybe_done:
                raise _outcome_unknown(outcome.error)
            raise outcome.error

    def _attempt(
        self, method: str, body: bytes, deadline: Deadline, picture_field: str
    ) -> Answer | _Failure:
        try:
            token = self._tokens.get(deadline)
            self._pacer.wait(deadline)
            deadline.require()
            query = f"?access_token={quote(token.value, safe='')}"
            answer = _read(*self._transport.post(_PATH + method + query, body, deadline))
        except TransportFailure as failure:
            error = UpstreamUnavailable(
                f"the upstream {failure.what}", retry_after_s=limits.UPSTREAM_RETRY_S
            )
            return _Failure(error, Action.BACK_OFF, maybe_done=failure.maybe_done)
        except UpstreamProtocol as unreadable:
            return _Failure(unreadable, Action.BACK_OFF, maybe_done=True)
        except ServiceError as refused:
            return _Failure(refused, Action.FINAL, maybe_done=False)
        if not answer.failed:
            return answer
        meaning = codes.meaning_of(answer.words.code)
        if meaning.action is Action.NEW_TOKEN:
            self._tokens.reject(token)
        error_seen = codes.error_of(answer.words, picture_field, _sign_of(answer))
        return _Failure(error_seen, meaning.action, meaning.maybe_done, answer)


@dataclass(frozen=True, slots=True)
class _Failure:
    """How an attempt failed, what can be done, and whether it may have been carried out."""

    error: ServiceError
    action: Action
    maybe_done: bool
    answer: Answer | None = None

    @property
    def code(self) -> int:
        """The upstream's code; 0 if it gave none."""
        return self.answer.words.code if self.answer else 0


def _read(status: int, content: bytes) -> Answer:
    try:
        return answers.read(content)
    except UpstreamProtocol:
        if status >= _HTTP_SERVER_FAULT:
            raise TransportFailure("is out of service", maybe_done=True) from None
        if status != _HTTP_OK:
            raise UpstreamProtocol(f"the upstream answered with HTTP {status}") from None
        raise


def _picture_fields(picture: Picture) -> Fields:
    return {"url": picture.url} if picture.url else {"image": picture.content}


def _target_fields(target: Target) -> Fields:
    return _picture_fields(target) if isinstance(target, Picture) else {"cont_sign": target}


def _set_classes(fields: Fields, call: Add | Search | Update) -> None:
    if call.class_id1 is not None:
        fields["class_id1"] = str(call.class_id1)
    if call.class_id2 is not None:
        fields["class_id2"] = str(call.class_id2)


def _sign_of(answer: Answer) -> str | None:
    sign = answer.members.get("cont_sign")
    return sign if isinstance(sign, str) else None


def _outcome_unknown(error: ServiceError) -> AddOutcomeUnknown:
    return AddOutcomeUnknown(
        "the picture may or may not have been stored; repeat the call with DUPLICATE_POLICY_KEEP",
        upstream=error.upstream or UpstreamWords(),
    )
