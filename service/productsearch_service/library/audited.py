"""A library whose writes are recorded in the audit stream, whatever came of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from productsearch_service.audit import Audit, Write
from productsearch_service.call_context import CallContext
from productsearch_service.errors import ServiceError
from productsearch_service.library.commands import Add, Delete, Deleted, Stored, Target, Update
from productsearch_service.library.library import Library


@dataclass(eq=False, kw_only=True)
class AuditedLibrary(Library):
    """``plain`` does the work; searches are its own."""

    name: str
    plain: Library
    audit: Audit

    async def add(self, command: Add, context: CallContext) -> Stored:
        """Store an image, and record it."""
        try:
            stored = await self.plain.add(command, context)
        except ServiceError as error:
            self._record("add", error.cont_sign or "", context, error)
            raise
        self._record("add", stored.cont_sign, context, stored.outcome.name, stored.log_id)
        return stored

    async def update(self, command: Update, context: CallContext) -> int:
        """Change a stored image, and record it."""
        try:
            log_id = await self.plain.update(command, context)
        except ServiceError as error:
            self._record("update", _sign(command.target), context, error)
            raise
        self._record("update", _sign(command.target), context, "UPDATED", log_id)
        return log_id

    async def delete(self, command: Delete, context: CallContext) -> int:
        """Delete a stored image, and record it."""
        try:
            log_id = await self.plain.delete(command, context)
        except ServiceError as error:
            self._record("delete", _sign(command.target), context, error)
            raise
        self._record("delete", _sign(command.target), context, "DELETED", log_id)
        return log_id

    async def delete_all(
        self, signs: Sequence[str], context: CallContext, *, allow_missing: bool
    ) -> dict[str, Deleted]:
        """Delete images by signature, and record each."""
        outcomes = await self.plain.delete_all(signs, context, allow_missing=allow_missing)
        for sign, outcome in outcomes.items():
            self._record("delete", sign, context, outcome.error or "DELETED", outcome.log_id)
        return outcomes

    def _record(
        self,
        action: str,
        sign: str,
        context: CallContext,
        result: str | ServiceError,
        log_id: int = 0,
    ) -> None:
        if isinstance(result, ServiceError):
            log_id = log_id or (result.upstream.log_id if result.upstream else 0)
            result = result.reason
        caller = context.caller.name
        self.audit.record(Write(caller, self.name, action, sign, result, log_id, time.time()))


def _sign(target: Target) -> str:
    return target if isinstance(target, str) else ""
