"""``add``: some images, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from productsearch.cli import options

if TYPE_CHECKING:
    from productsearch.cli.profile import Profile


@click.command("add")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--brief", help="Text that each hit returns, at most 256 bytes. Default: the name.")
@options.classes
@options.fit(default=False)
@options.on_duplicate("reject")
@click.option("--dry-run", is_flag=True, help="Let the service check the images and store none.")
@options.timeout
@options.connection
@options.as_json
def command(images: tuple[str, ...], profile: Profile, as_json: bool, **asked: Any) -> int:
    """Add images: files, addresses, or - for stdin.

    Prints the signature of each, which names it from now on.
    """
    from pathlib import PurePath

    from productsearch.cli.calls import patiently
    from productsearch.cli.connection import open_channel, stub_of
    from productsearch.cli.exit_codes import ExitCode
    from productsearch.cli.failures import Failure
    from productsearch.cli.images_given import image_given, tell_of_braces
    from productsearch.cli.output import note, print_json, print_rows
    from productsearch.v1 import AddImageRequest, AddOutcome, DuplicatePolicy, NewImage

    tell_of_braces(asked["brief"])
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    with open_channel(profile) as channel:
        stub = stub_of(channel)
        for name in images:
            try:
                new_image = NewImage(
                    image=image_given(name, fit=asked["fit"]),
                    brief=PurePath(name).name if asked["brief"] is None else asked["brief"],
                    class_id1=asked["class_id1"],
                    class_id2=asked["class_id2"],
                )
                request = AddImageRequest(
                    library=profile.library,
                    new_image=new_image,
                    duplicate_policy=DuplicatePolicy.Value(
                        f"DUPLICATE_POLICY_{asked['on_duplicate'].upper()}"
                    ),
                    validate_only=asked["dry_run"],
                )
                answer = patiently(stub.AddImage, request, asked["timeout"], name)
            except Failure as failure:
                if len(images) == 1 or failure.code in (
                    ExitCode.UNREACHABLE,
                    ExitCode.GO_ON_LATER,
                ):
                    raise
                failures.append(failure)
                note(failure.lines())
                if as_json:
                    print_json({"image": name, **failure.fields()})
                continue
            outcome = AddOutcome.Name(answer.outcome).removeprefix("ADD_OUTCOME_").lower()
            row = {"image": name, "outcome": outcome, "cont_sign": answer.cont_sign}
            rows.append(row | {"log_id": str(answer.log_id)})
            if as_json:
                print_json(rows[-1])
    if rows and not as_json:
        print_rows(
            ("cont_sign", "outcome", "image"),
            [(row["cont_sign"], row["outcome"], row["image"]) for row in rows],
        )
    if not failures:
        return int(ExitCode.DONE)
    return int(ExitCode.SOME_REJECTED if rows else ExitCode.REFUSED)
