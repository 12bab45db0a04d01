"""Options that several commands share."""

from __future__ import annotations

import math
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Callable

_CONNECTION = ("profile", "target", "library", "tls", "ca", "cert", "key", "token_file")
_WITH_VALUE = "--profile -p --target -t --library -l --ca --cert --key --token-file"
BEFORE_COMMAND = {
    **dict.fromkeys(_WITH_VALUE.split(), True),
    **dict.fromkeys(("--tls", "--plaintext", "--json"), False),
}
"""Options of commands that may stand before the command -> whether a value follows."""


def _profiles(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from productsearch.cli import profile

    names = profile.names(profile.read_config(profile.config_file()))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def connection(
    command: Callable[..., Any], *, shown: tuple[str, ...] = _CONNECTION
) -> Callable[..., Any]:
    """Add the options that say where the service is; the command gets them as ``profile``.

    Those that are not shown are taken all the same: they may stand before any command.
    """
    option = partial(_option, shown)

    @wraps(command)
    def resolved(*arguments: Any, **named: Any) -> Any:
        from productsearch.cli import profile

        flags = {name: named.pop(name) for name in _CONNECTION}
        return command(*arguments, profile=profile.resolve(flags), **named)

    for added in reversed(
        (
            option("--profile", "-p", shell_complete=_profiles, help="Profile to use."),
            option("--target", "-t", metavar="HOST:PORT", help="Address of the service."),
            option("--library", "-l", help="Library; empty: the service's default one."),
            option(
                "--tls/--plaintext",
                default=None,
                help="TLS or not; default: TLS with a token or certificates.",
            ),
            option("--ca", metavar="FILE", help="Authorities to trust, PEM."),
            option("--cert", metavar="FILE", help="Own certificate, PEM."),
            option("--key", metavar="FILE", help="Its key, PEM."),
            option("--token-file", metavar="FILE", help="File with the bearer token."),
        )
    ):
        resolved = added(resolved)
    return resolved


def _option(shown: tuple[str, ...], flag: str, *more: str, **told: Any) -> Any:
    name = flag.partition("/")[0].removeprefix("--").replace("-", "_")
    return click.option(flag, *more, hidden=name not in shown, **told)


class ClassId(click.IntRange):
    """A class id; what is no number is told the range, too."""

    def __init__(self) -> None:
        super().__init__(1, 65535)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        try:
            number: int = super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no class id; use {self.min} to {self.max}", param, ctx)
        return number


which_library = partial(connection, shown=("profile", "library"))
"""The same for a command that calls no service: a journal has a part for each library."""


class Finite(click.FloatRange):
    """A number in a range; neither infinity nor what is no number, which no range keeps out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


def as_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, one value a line.")(
        command
    )


def fit(*, default: bool | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--fit``; searches, which store nothing, have it as their default.

    None: an import, which goes on as the one before it.
    """
    why = {
        True: "A search stores nothing, so it does.",
        False: "Off: the image is stored as it is.",
        None: "Not given: as in the last import; at first, images are stored as they are.",
    }[default]
    return click.option(
        "--fit/--no-fit",
        default=default,
        show_default=default is not None,
        help="Let the service bring images inside its limits: scale, transcode, turn upright. "
        + why,
    )


def timeout(
    command: Callable[..., Any], says: str = "Seconds for each image, with waiting for the quota."
) -> Callable[..., Any]:
    """Add ``--timeout``."""
    return click.option(
        "--timeout",
        type=Finite(min=0.1),
        default=30.0,
        show_default=True,
        help=says,
    )(command)


def classes(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--class-id1`` and ``--class-id2``."""
    for number in (2, 1):
        option = click.option(f"--class-id{number}", type=ClassId(), help=f"Class id {number}.")
        command = option(command)
    return command


def on_duplicate(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--on-duplicate``."""
    return click.option(
        "--on-duplicate",
        type=click.Choice(["keep", "update", "reject"]),
        default=default,
        show_default=True,
        help="Where the image is stored already: leave it, replace brief and classes, or refuse.",
    )


def not_ours(count: int) -> str:
    """Return what is told of images that stay because they were there before."""
    return (
        f"stay in the library: {count}, there before this source was imported\n"
        "  next: --also-kept deletes such, too"
    )


def also_kept(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--also-kept``."""
    return click.option(
        "--also-kept",
        is_flag=True,
        help="Delete what was in the library before this source was imported, too.",
    )(command)
