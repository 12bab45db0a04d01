"""``status``: does the service answer, and how far is an import."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from productsearch.cli import looking_up, options

if TYPE_CHECKING:
    from productsearch.cli.failures import Failure
    from productsearch.cli.profile import Profile


@click.command("status")
@looking_up.source_argument
@click.option("--source", "-s", metavar="SOURCE", help="Say how far its import is, too.")
@click.option("--deep", is_flag=True, help="Make one search, too: a call of the quota.")
@partial(options.timeout, says="Seconds that the answer may take.")
@options.connection
@options.as_json
def command(
    place: str | None,
    source: str | None,
    deep: bool,
    timeout: float,
    profile: Profile,
    as_json: bool,
) -> int:
    """Say whether the service answers, and serves this caller for this library.

    Costs no call of the quota: the service is asked something that it refuses by itself, which it
    counts as an invalid call of this caller. So it says nothing of the upstream behind the service,
    unless --deep asks for a search. A caller that may not search is told what it may do.
    """
    import time

    import grpc

    from productsearch.cli import output
    from productsearch.cli.connection import open_channel, stub_of
    from productsearch.cli.exit_codes import ExitCode
    from productsearch.cli.probe import upstream_failure
    from productsearch.cli.rpc_failures import failure_of, reason_name
    from productsearch.v1 import SearchImagesRequest, reason_of

    fields: dict[str, Any] = {
        "profile": profile.name,
        "target": profile.target,
        "library": profile.library or "(default)",
    }
    failure: Failure | None = None
    with open_channel(profile) as channel:
        stub = stub_of(channel)
        began_s = time.monotonic()
        try:
            # Without an image: who may search this library is told FIELD_INVALID.
            stub.SearchImages(SearchImagesRequest(library=profile.library), timeout=timeout)
        except grpc.RpcError as error:
            if reason_name(error) != "FIELD_INVALID":
                failure = failure_of(error)
                fields["answers"] = reason_of(error) is not None
        answered_ms = (time.monotonic() - began_s) * 1000
        fields.setdefault("answers", True)
        if fields["answers"]:
            fields["answered_in_ms"] = round(answered_ms, 1)
        if failure is not None and failure.reason == "CALLER_FORBIDDEN":
            failure = _told_rights(stub, profile.library, timeout, fields) or (
                failure if deep else None  # a search is what --deep asks for
            )
        elif failure is None and deep:
            failure = upstream_failure(stub, profile.library, timeout)
            fields["upstream_answers"] = failure is None
    if source := place or source:
        with looking_up.opened(source, None, profile.library) as journal:
            fields |= journal.counts()
    if as_json:
        output.print_json(fields | (failure.fields() if failure is not None else {}))
    else:
        output.print_fields(fields)
    if failure is not None:
        output.note(failure.lines())
        return int(failure.code)
    return int(ExitCode.DONE)


def _told_rights(
    stub: Any, library: str, timeout_s: float, fields: dict[str, Any]
) -> Failure | None:
    """Add what a caller that may not search may do; return why it may do nothing, None: it may."""
    import grpc

    from productsearch.cli.exit_codes import ExitCode
    from productsearch.cli.failures import Failure
    from productsearch.cli.probe import rights
    from productsearch.cli.rpc_failures import REASONS, failure_of

    try:
        may, may_not = rights(stub, library, timeout_s)
    except grpc.RpcError as error:
        return failure_of(error)
    fields |= {"may": ", ".join(may) or "nothing", "may_not": ", ".join(may_not)}
    if may:
        return None
    what = f"this caller may do nothing with library {library or '(default)'}"
    step = REASONS["CALLER_FORBIDDEN"][1]
    return Failure(what, code=ExitCode.REFUSED, next_step=step, reason="CALLER_FORBIDDEN")
