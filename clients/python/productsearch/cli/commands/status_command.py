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
    """Say whether the service answers this caller for this library.

    Costs no call of the quota: the service is asked something that it refuses by itself. So it says
    nothing of the upstream behind the service, unless --deep asks for a search.
    """
    import time

    import grpc

    from productsearch.cli import output
    from productsearch.cli.connection import open_channel, stub_of
    from productsearch.cli.exit_codes import ExitCode
    from productsearch.cli.probe import upstream_failure
    from productsearch.cli.rpc_failures import failure_of, reason_name
    from productsearch.v1 import SearchImagesRequest

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
        answered_ms = (time.monotonic() - began_s) * 1000
        fields["answers"] = failure is None
        if failure is None:
            fields["answered_in_ms"] = round(answered_ms, 1)
        if failure is None and deep:
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
