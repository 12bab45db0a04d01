"""``update``: brief or class ids of one stored image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from productsearch.cli import options

if TYPE_CHECKING:
    from productsearch.cli.profile import Profile


@click.command("update")
@click.argument("reference", metavar="SIGN|IMAGE")
@click.option("--brief", help="New text; not given: stays as it is.")
@options.classes
@options.fit(default=False)
@click.option("--dry-run", is_flag=True, help="Let the service check the request only.")
@options.timeout
@options.connection
@options.as_json
def command(reference: str, profile: Profile, as_json: bool, **asked: Any) -> None:
    """Change brief or class ids of the image with this signature, or of this very image.

    A class id cannot be cleared.
    """
    from productsearch.cli.calls import patiently
    from productsearch.cli.connection import open_channel, stub_of
    from productsearch.cli.failures import usage
    from productsearch.cli.images_given import reference_given, tell_of_braces
    from productsearch.cli.output import print_fields, print_json
    from productsearch.v1 import UpdateImageRequest

    changes = {name: asked[name] for name in ("brief", "class_id1", "class_id2")}
    if all(value is None for value in changes.values()):
        raise usage("nothing to change", "give --brief, --class-id1 or --class-id2")
    tell_of_braces(asked["brief"])
    request = UpdateImageRequest(
        library=profile.library,
        image_ref=reference_given(reference, fit=asked["fit"]),
        validate_only=asked["dry_run"],
        **changes,
    )
    with open_channel(profile) as channel:
        answer = patiently(stub_of(channel).UpdateImage, request, asked["timeout"], reference)
    told = {"updated": reference, "log_id": str(answer.log_id)}
    if asked["dry_run"]:
        told = {"valid": reference}
    print_json(told) if as_json else print_fields(told)
