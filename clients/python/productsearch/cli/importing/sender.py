"""Makes the call that an entry needs, again for as long as waiting helps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import grpc

from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.failures import Failure
from productsearch.cli.journal import REJECTED
from productsearch.cli.rpc_failures import failure_of, is_gateways_rate, reason_name
from productsearch.v1 import (
    AddImageRequest,
    AddOutcome,
    DuplicatePolicy,
    ImageSource,
    NewImage,
    UpdateImageRequest,
    log_id_of,
    ref_by_sign,
    retry_delay_of,
)

if TYPE_CHECKING:
    from productsearch.cli.importing.deciding import Work
    from productsearch.cli.importing.pace import Pace
    from productsearch.cli.importing.settings import Settings
    from productsearch.cli.importing.tally import Tally
    from productsearch.cli.journal import Row

_OF_THE_ENTRY: Final = frozenset(
    (
        *("FIELD_INVALID", "IMAGE_UNREADABLE", "IMAGE_SIZE_INVALID", "IMAGE_URL_UNREACHABLE"),
        *("IMAGE_ALREADY_EXISTS", "IMAGE_NOT_FOUND", "UPSTREAM_PROTOCOL", "SERVER_FAULT"),
        "RESOURCE_EXHAUSTED",  # gRPC's own: a message that is too large
    )
)
"""Reasons that concern one entry: it is rejected and the import goes on."""
_OF_THE_SERVER: Final = frozenset(("UPSTREAM_PROTOCOL", "SERVER_FAULT"))
_SERVER_FAULTS_MAX: Final = 20
"""In a row: then it is not the images."""
_QUOTA: Final = frozenset(("RATE_LIMITED", "SERVER_OVERLOADED", "DEADLINE_TOO_SHORT"))
"""Nothing was sent to the upstream, and waiting helps for as long as it takes."""
_GATEWAYS_RATE_S: Final = 1.0
"""A gateway names no time; its rates are for seconds."""
_AGAIN: Final = frozenset(
    (
        *("UPSTREAM_UNAVAILABLE", "ADD_OUTCOME_UNKNOWN", "SERVER_DRAINING"),
        *("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"),
    )
)


class Sender:
    """The calls of one import. ``stub`` is one of asyncio."""

    def __init__(self, stub: Any, settings: Settings, pace: Pace, tally: Tally) -> None:
        self._stub = stub
        self._settings = settings
        self._pace = pace
        self._tally = tally
        self._server_faults = 0

    async def send(self, work: Work) -> Row:
        """Return the row of what became of the work.

        Raises Stopped if the import was told to stop first, Failure if it cannot go on.
        """
        uncertain = work.uncertain
        while True:
            await self._pace.ready()
            self._tally.calls += 1
            try:
                row = await (self._update(work) if work.update_sign else self._add(work, uncertain))
            except grpc.RpcError as error:
                reason = reason_name(error)
                if reason in _OF_THE_ENTRY and not is_gateways_rate(error):
                    return self._rejected(work, error, reason)
                self._wait_or_fail(error, reason)
                uncertain = uncertain or not (reason in _QUOTA or is_gateways_rate(error))
                self._tally.repeated += 1
            else:
                self._pace.answered()
                self._server_faults = 0
                return row

    async def _add(self, work: Work, uncertain: bool) -> Row:
        policy = self._settings.on_duplicate
        if policy == "reject" and uncertain:
            policy = "keep"  # what is there may be what we added
        entry = work.entry
        image = (
            ImageSource(content=work.content, fit=self._settings.fit)
            if work.content
            else ImageSource(url=entry.image)
        )
        request = AddImageRequest(
            library=self._settings.library,
            new_image=NewImage(image=image, brief=entry.brief, **_classes(work.row)),
            duplicate_policy=DuplicatePolicy.Value(f"DUPLICATE_POLICY_{policy.upper()}"),
            validate_only=self._settings.dry_run,
        )
        answer = await self._stub.AddImage(request, timeout=self._settings.call_timeout_s)
        outcome = AddOutcome.Name(answer.outcome).removeprefix("ADD_OUTCOME_").lower()
        return replace(
            work.row,
            cont_sign=answer.cont_sign,
            outcome=outcome,
            ours=work.row.ours or outcome == "created",
            log_id=str(answer.log_id),
        )

    async def _update(self, work: Work) -> Row:
        request = UpdateImageRequest(
            library=self._settings.library,
            image_ref=ref_by_sign(work.update_sign),
            brief=work.row.brief,
            validate_only=self._settings.dry_run,
            **_classes(work.row),
        )
        answer = await self._stub.UpdateImage(request, timeout=self._settings.call_timeout_s)
        return replace(work.row, outcome="updated", log_id=str(answer.log_id))

    def _rejected(self, work: Work, error: grpc.RpcError, reason: str) -> Row:
        if reason in _OF_THE_SERVER:
            self._server_faults += 1
            if self._server_faults >= _SERVER_FAULTS_MAX:
                raise failure_of(error, f"{self._server_faults} images in a row")
        else:
            self._server_faults = 0
        self._pace.answered()
        message = getattr(error, "details", str)() or ""
        return replace(
            work.row,
            state=REJECTED,
            reason=reason,
            message=message,
            log_id=str(log_id_of(error) or ""),
        )

    def _wait_or_fail(self, error: grpc.RpcError, reason: str) -> None:
        """Hold the import back where waiting helps. Raises Failure where it does not."""
        delay_s = retry_delay_of(error)
        if is_gateways_rate(error):
            self._pace.answered()
            self._pace.wait(_GATEWAYS_RATE_S, "the gateway's rate")
        elif reason in _QUOTA:
            self._pace.answered()
            self._pace.wait(delay_s or 0.1, "the quota")
        elif reason in _AGAIN:
            if self._pace.unreachable(delay_s):
                failure = failure_of(error)
                raise Failure(
                    failure.what,
                    code=ExitCode.UNREACHABLE,
                    next_step=f"{failure.next_step}; the same command goes on",
                    reason=reason,
                )
        else:
            raise failure_of(error)


def _classes(row: Row) -> dict[str, Any]:
    told = {"class_id1": row.class_id1, "class_id2": row.class_id2}
    return {name: int(text) for name, text in told.items() if text}
