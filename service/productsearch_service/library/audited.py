"""A library whose writes are recorded in the audit stream, whatever came of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from productsearch_service.audit import Audit, Write
from productsearch_service.call_context import CallContext
from productsearch_service.errors import ServiceError
from productsearch_service.library.commands import Add, Delete, Deleted, Stored, Target, Update
from productsearch_service.library.library import Library

Value = TypeVar("Value")

_UNKNOWN: Final = "UNKNOWN"
"""Of a write whose call ended before its answer came: it may have been carried out."""


@dataclass(eq=False, kw_only=True)
class AuditedLibrary(Library):
    """``plain`` does the work; searches are its own."""

    name: str
    plain: Library
    audit: Audit

    async def add(self, command: Add, context: CallContext) -> Stored:
        """Store an image, and record it."""
        return await self._recorded(
            "add",
            "",
            context,
            self.plain.add(command, context),
            lambda stored: (stored.cont_sign, stored.outcome.name, stored.log_id),
        )

    async def update(self, command: Update, context: CallContext) -> int:
        """Change a stored image, and record it."""
        sign, work = _sign(command.target), self.plain.update(command, context)
        return await self._recorded(
            "update", sign, context, work, lambda log_id: (sign, "UPDATED", log_id)
        )

    async def delete(self, command: Delete, context: CallContext) -> int:
        """Delete a stored image, and record it."""
        sign, work = _sign(command.target), self.plain.delete(command, context)
        return await self._recorded(
            "delete", sign, context, work, lambda log_id: (sign, "DELETED", log_id)
        )

    async def delete_all(
        self, signs: Sequence[str], context: CallContext, *, allow_missing: bool
    ) -> dict[str, Deleted]:
        """Delete images by signature, and record each."""
        try:
            outcomes = await self.plain.delete_all(signs, context, allow_missing=allow_missing)
        except BaseException:
            for sign in dict.fromkeys(signs):
                self._record("delete", sign, context, _UNKNOWN)
            raise
        for sign, outcome in outcomes.items():
            result = outcome.error.reason if outcome.error else "DELETED"
            self._record("delete", sign, context, result, outcome.log_id)
        return outcomes

    async def _recorded(
        self,
        action: str,
        sign: str,
        context: CallContext,
        work: Awaitable[Value],
        told: Callable[[Value], tuple[str, str, int]],
    ) -> Value:
        """Do the work and record it; ``told`` returns signature, result and log_id of its value."""
        try:
            value = await work
        except ServiceError as error:
            log_id = error.upstream.log_id if error.upstream else 0
            self._record(action, error.cont_sign or sign, context, error.reason, log_id)
            raise
        except BaseException:  # its caller has left, or its deadline was reached
            self._record(action, sign, context, _UNKNOWN)
            raise
        stored_as, result, log_id = told(value)
        self._record(action, stored_as, context, result, log_id)
        return value

    def _record(
        self, action: str, sign: str, context: CallContext, result: str, log_id: int = 0
    ) -> None:
        caller = context.caller.name
        self.audit.record(Write(caller, self.name, action, sign, result, log_id, time.time()))


def _sign(target: Target) -> str:
    return target if isinstance(target, str) else ""
