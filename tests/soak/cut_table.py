"""The outcome table: what a caller may be told, after what the upstream's journal says."""

from __future__ import annotations

from productsearch import v1
from tests.fakes.cutting import Entry
from tests.soak.cut_calls import TOKEN, Told, add_fresh, bulk_add_fresh, is_own_deadline, words_of
from tests.soak.cut_cases import ENDLESS, Case
from tests.soak.cut_stage import Stage


def complaint(case: Case, stage: Stage, told: Told) -> str:
    """Return what is wrong with what the caller was told; nothing if it keeps the table."""
    adds = case.rpc.play in (add_fresh, bulk_add_fresh)
    method = "add" if adds else case.rpc.method
    done = stage.upstream.times(method, told.sign)
    if not told.true:
        return "what it answered is not so"
    if told.failure is None:
        return "" if done or method == "search" else "OK, but it was not carried out"
    code, reason = words_of(told.failure)
    waiting_helps = v1.retry_delay_of(told.failure) is not None
    if is_own_deadline(told.failure):
        return "" if case.cut.kind in ENDLESS else "no answer within the deadline"
    if (code, reason) == ("UNKNOWN", "ADD_OUTCOME_UNKNOWN") and not waiting_helps:
        reached = any(_may_be_an_add(case, entry) for entry in stage.upstream.journal)
        return "" if adds and reached else f"{reason} though nothing was sent"
    if (code, reason) == ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE") and waiting_helps:
        return f"{code}, but the add was carried out" if adds and done else ""
    cut = [entry.method for entry in stage.upstream.journal if entry.cut]
    awaits_token = case.rpc is TOKEN and case.cut.kind in ENDLESS and set(cut) <= {"token", ""}
    if reason == "DEADLINE_TOO_SHORT" and (not cut or awaits_token):
        return ""  # no call was begun, as the reason says
    return f"{code} {reason} is not in the table"


def _may_be_an_add(case: Case, entry: Entry) -> bool:
    """Whether an entry of the journal lets an add be begun, read or not."""
    if case.rpc is not TOKEN:
        # A request of which too little arrived to tell its method has none.
        return entry.method in ("add", "")
    token_was_whole = entry.method == "token" and case.cut.at >= entry.answer_bytes
    return entry.method == "add" or (case.cut.side == "answer" and token_was_whole)
