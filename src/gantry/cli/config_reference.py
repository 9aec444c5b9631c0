"""`gantry config`: every setting of a server, from its declaration. docs/configuration.md is this command's Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gantry.runtime.config import Config, ConfigKey

SERVERS = ("broker", "namesrv")


def config_class(server: str) -> type[Config]:
    """The settings of a server, by its short name."""
    if server == "broker":
        from gantry.broker.config import BrokerConfig

        return BrokerConfig
    from gantry.namesrv.config import NamesrvConfig

    return NamesrvConfig


def default_text(key: ConfigKey) -> str:
    """The default as it would stand in a file; one that only the machine knows is named by what tells it."""
    if callable(key.default):
        maker = str(key.default.__name__)
        if maker.isidentifier():
            return maker.replace("_", " ")
        return key.format(key.default()).replace(str(Path.home()), "~") or "(empty)"
    return key.format(key.default) or "(empty)"


def markdown(server: str) -> str:
    """One table: name, default, what it takes, whether it may change while the server runs, what it does."""
    lines = [
        "| key | default | takes | at run time | what it does |",
        "|---|---|---|---|---|",
    ]
    for key in config_class(server).keys().values():
        cells = (f"`{key.name}`", f"`{default_text(key)}`", key.allowed(), "yes" if key.reloadable else "", key.doc)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def page() -> str:
    """The whole of docs/configuration.md."""
    return (
        "# Configuration\n\n"
        "Settings are Java properties (`-c file`), under the official names. Made from the declarations in the code by\n"
        "`gantry config --page`; `gantry config broker` shows the same in a terminal. Keys that a file has and this version\n"
        "does not know are kept, named in the log, and without effect. *At run time* marks what `mqadmin updateBrokerConfig`\n"
        "and `updateNamesrvConfig` may change; everything else is refused with code 16.\n\n"
        f"## Name server\n\n{markdown('namesrv')}\n\n## Broker\n\n{markdown('broker')}\n"
    )


@click.command()
@click.argument("server", type=click.Choice(SERVERS), required=False)
@click.option("--page", "whole_page", is_flag=True, help="Print docs/configuration.md.")
@click.option("--grep", default="", help="Only keys whose name or sentence contains this.")
def command(server: str | None, whole_page: bool, grep: str) -> None:
    """Show every setting of a server: default, what it takes, what it does."""
    if whole_page:
        click.echo(page(), nl=False)
        return
    from rich.console import Console
    from rich.table import Table

    for name in (server,) if server else SERVERS:
        table = Table(title=f"{name} settings (* may change at run time)")
        for column in ("key", "default", "takes", "what it does"):
            table.add_column(column, overflow="fold")
        for key in config_class(name).keys().values():
            if grep.lower() in f"{key.name} {key.doc}".lower():
                table.add_row(key.name + ("*" if key.reloadable else ""), default_text(key), key.allowed(), key.doc)
        Console().print(table)
