"""``search``: the stored images most like one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from productsearch.cli import options

if TYPE_CHECKING:
    from productsearch.cli.profile import Profile


@click.command("search")
@click.argument("image", metavar="IMAGE")
@click.option("--top", "-n", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--min-score", type=click.FloatRange(0, 1), default=0.0, help="Leave out worse ones.")
@options.classes
@click.option("--either-class", is_flag=True, help="One of the two class ids is enough.")
@options.fit(default=True)
@options.timeout
@options.connection
@options.as_json
def command(image: str, profile: Profile, as_json: bool, **asked: Any) -> None:
    """Find the stored images most like IMAGE: a file, an address, or - for stdin."""
    from productsearch.cli.connection import open_channel
    from productsearch.cli.images_given import image_given
    from productsearch.cli.output import note, print_json, print_rows
    from productsearch.cli.searches import find_hits

    source = image_given(image, fit=asked["fit"])
    with open_channel(profile) as channel:
        hits = find_hits(channel, profile, source, image, asked)
    if as_json:
        for hit in hits:
            print_json({"cont_sign": hit.cont_sign, "score": hit.score, "brief": hit.brief})
    elif hits:
        print_rows(
            ("#", "score", "cont_sign", "brief"),
            [
                (rank, f"{hit.score:.3f}", hit.cont_sign, hit.brief)
                for rank, hit in enumerate(hits, 1)
            ],
        )
    else:
        note("no hits: the library holds no image that fits; `productsearch add` adds one")
