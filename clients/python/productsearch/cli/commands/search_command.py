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
@click.option("--min-score", type=options.Finite(0, 1), default=0.0, help="Leave out worse ones.")
@options.classes
@click.option("--either-class", is_flag=True, help="One of the two class ids is enough.")
@options.fit(default=True)
@click.option(
    "--source",
    "-s",
    default=".",
    show_default=True,
    metavar="SOURCE",
    help="What was imported: the images of hits are taken from there.",
)
@click.option("--sheet", metavar="FILE", help="Write the images as one, .png or .jpg.")
@click.option("--html", metavar="FILE", help="Write a page with the images.")
@click.option(
    "--images/--no-images", "show", default=None, help="Draw images in the terminal, if it can."
)
@options.timeout
@options.connection
@options.as_json
def command(image: str, profile: Profile, as_json: bool, **asked: Any) -> None:
    """Find the stored images most like IMAGE: a file, an address, or - for stdin."""
    from productsearch.cli.connection import open_channel
    from productsearch.cli.images_given import image_given
    from productsearch.cli.output import note, print_json, printable
    from productsearch.cli.searches import find_hits
    from productsearch.cli.terminal_images import current

    source = image_given(image, fit=asked["fit"])
    with open_channel(profile) as channel:
        hits = find_hits(channel, profile, source, image, asked)
    spoken = current() if asked["show"] is not False and not as_json else None
    images: dict[str, bytes] = {}
    if hits and (spoken or asked["sheet"] or asked["html"]):
        from productsearch.cli.hit_images import images_of

        signs = [hit.cont_sign for hit in hits]
        images = images_of(signs, asked["source"], profile.library)
    if asked["sheet"] or asked["html"]:
        _write_files(image, source.content, hits, images, asked)
    if as_json:
        for hit in hits:
            print_json({"cont_sign": hit.cont_sign, "score": hit.score, "brief": hit.brief})
    elif not hits:
        note(_why_none(asked))
    elif spoken and images:
        from productsearch.cli.terminal_images import drawn

        for rank, hit in enumerate(hits, 1):
            if hit.cont_sign in images:
                click.echo(drawn(images[hit.cont_sign], spoken), nl=False)
            click.echo(f"{rank:>3}  {hit.score:.3f}  {hit.cont_sign}  {printable(hit.brief)}")
    else:
        from productsearch.cli.output import print_rows

        rows = [
            (rank, f"{hit.score:.3f}", hit.cont_sign, hit.brief) for rank, hit in enumerate(hits, 1)
        ]
        print_rows(("#", "score", "cont_sign", "brief"), rows)


def _why_none(asked: dict[str, Any]) -> str:
    """Return what to say where there is no hit: options that left images out are named."""
    options_given = [
        f"--{name.replace('_', '-')} {asked[name]}"
        for name in ("min_score", "class_id1", "class_id2")
        if asked[name]
    ]
    if options_given:
        return f"no hits with {' '.join(options_given)}; a search without may have some"
    return "no hits: the library holds no image that fits; `productsearch add` adds one"


def _write_files(
    name: str, content: bytes, hits: list[Any], images: dict[str, bytes], asked: dict[str, Any]
) -> None:
    from pathlib import Path

    from productsearch.cli import sheets
    from productsearch.cli.hit_images import thumbnail

    query = thumbnail(content) if content else b""
    if asked["sheet"]:
        sheets.write_sheet(Path(asked["sheet"]), query, hits, images)
    if asked["html"]:
        sheets.write_html(Path(asked["html"]), name, query, hits, images)
