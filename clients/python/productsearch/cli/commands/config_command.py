"""``config``: profiles in config.toml."""

from __future__ import annotations

import click

from productsearch.cli.profile import DEFAULT_NAME, KEYS


@click.group("config")
def command() -> None:
    """Show and change profiles: named sets of target, library, TLS, token file, quota and price."""


@command.command("path")
def path() -> None:
    """Print the path of the configuration file."""
    from productsearch.cli import profile

    click.echo(profile.config_file())


@command.command("show")
@click.option("--profile", "-p", "name", help="Profile; default: the one in use.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str | None, as_json: bool) -> None:
    """Print what holds, from the environment and the profile together. Tokens are not shown."""
    from productsearch.cli import output, profile

    resolved = profile.resolve({"profile": name})
    fields: dict[str, object] = {"profile": resolved.name}
    for key in KEYS:
        value = getattr(resolved, key)
        if key == "token":
            value = "(set)" if value else ""
        if value not in ("", None, 0, 0.0) or value is False:
            fields[key] = value
    output.print_json(fields) if as_json else output.print_fields(fields)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one profile a line.")
def list_profiles(as_json: bool) -> None:
    """List the profiles."""
    from productsearch.cli import output, profile

    config = profile.read_config(profile.config_file())
    used = config.get("profile", DEFAULT_NAME)
    rows = [
        {
            "profile": name,
            "target": config["profiles"][name].get("target", profile.Profile.target),
            "library": config["profiles"][name].get("library", ""),
            "in_use": name == used,
        }
        for name in profile.names(config)
    ]
    if as_json:
        for row in rows:
            output.print_json(row)
    else:
        columns = ("profile", "target", "library", "in_use")
        output.print_rows(columns, [[row[name] for name in columns] for row in rows])


@command.command("set")
@click.argument("key", type=click.Choice([key for key in KEYS if key != "token"]))
@click.argument("value")
@click.option("--profile", "-p", "name", default=DEFAULT_NAME, show_default=True)
def set_value(key: str, value: str, name: str) -> None:
    """Set KEY of a profile, which is made if it is new."""
    from productsearch.cli import config_file, profile

    config_file.change(name, key, profile.checked(key, value))


@command.command("unset")
@click.argument("key", type=click.Choice([*KEYS]))
@click.option("--profile", "-p", "name", default=DEFAULT_NAME, show_default=True)
def unset(key: str, name: str) -> None:
    """Remove KEY from a profile."""
    from productsearch.cli import config_file

    config_file.change(name, key, None)


@command.command("use")
@click.argument("name")
def use(name: str) -> None:
    """Make a profile the one that is used where none is named."""
    from productsearch.cli import config_file

    config_file.use(name)
