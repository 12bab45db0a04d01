"""The four calls of the upstream, typed: which fields they send and what they answer.

Field names and their order are the contract's; docs/wire-mapping.md has the whole table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from productsearch_service.calls import Add, Added, Delete, Page, Picture, Search, Update
from productsearch_service.upstream import answers, codes
from productsearch_service.upstream.exchange import Call, Exchange, Fields

if TYPE_CHECKING:
    from productsearch_service.calls import Ask, Target
    from productsearch_service.operations.vitals import Vitals
    from productsearch_service.upstream.answers import Answer


class UpstreamClient:
    """The upstream's calls for one library. Thread-safe.

    Every call raises ServiceErrors only: what the upstream's code means (see codes),
    UpstreamUnavailable, UpstreamProtocol, RateLimited, QuotaExhausted, DeadlineTooShort, and
    for an add whose outcome could not be settled AddOutcomeUnknown.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def add(self, call: Add, ask: Ask) -> Added:
        """Store a picture; raise ImageAlreadyExists with its cont_sign if it is stored."""
        fields = _picture_fields(call.picture)
        fields["brief"] = call.brief
        _set_classes(fields, call)
        return self._exchange.call(
            Call("add", fields, _added, call.picture.field, done_before=codes.DUPLICATE), ask
        )

    def search(self, call: Search, ask: Ask) -> Page:
        """Find pictures."""
        fields = _picture_fields(call.picture)
        _set_classes(fields, call)
        if call.class_id1 is not None or call.class_id2 is not None:
            fields["tag_logic"] = "1" if call.either_class else "0"
        fields["pn"] = str(call.start)
        fields["rn"] = str(call.count)
        return self._exchange.call(Call("search", fields, answers.page, call.picture.field), ask)

    def update(self, call: Update, ask: Ask) -> int:
        """Change a stored picture; return the log_id."""
        fields = _target_fields(call.target)
        if call.brief is not None:
            fields["brief"] = call.brief
        _set_classes(fields, call)
        return self._exchange.call(
            Call("update", fields, answers.required_log_id, _field_of(call.target)), ask
        )

    def delete(self, call: Delete, ask: Ask) -> int:
        """Delete one stored picture, or up to 100 by their signatures; return the log_id."""
        batch = isinstance(call.target, tuple)
        target = ";".join(call.target) if isinstance(call.target, tuple) else call.target
        return self._exchange.call(
            Call(
                "delete",
                _target_fields(target),
                answers.required_log_id,
                _field_of(target),
                # A batch that is refused for one unknown sign is not a batch that was deleted.
                done_before=None if batch else codes.NOT_FOUND,
            ),
            ask,
        )

    def prepare(self) -> None:
        """Begin to fetch a token if one is needed."""
        self._exchange.prepare()

    def vitals(self) -> Vitals:
        """Return how the upstream is doing."""
        return self._exchange.vitals()

    def close(self) -> None:
        """Close the connections."""
        self._exchange.close()


def _picture_fields(picture: Picture) -> Fields:
    return {"url": picture.url} if picture.url else {"image": picture.take()}


def _target_fields(target: Target) -> Fields:
    return _picture_fields(target) if isinstance(target, Picture) else {"cont_sign": target}


def _field_of(target: Target) -> str:
    return target.field if isinstance(target, Picture) else ""


def _set_classes(fields: Fields, call: Add | Search | Update) -> None:
    if call.class_id1 is not None:
        fields["class_id1"] = str(call.class_id1)
    if call.class_id2 is not None:
        fields["class_id2"] = str(call.class_id2)


def _added(answer: Answer) -> Added:
    return Added(answers.required_sign(answer), answer.words.log_id, settled=answer.failed)
