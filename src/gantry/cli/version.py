"""`gantry version`."""

from __future__ import annotations

import platform

import click


@click.command()
def command() -> None:
    """Show the version, the core in use and the event loop."""
    from gantry import __version__
    from gantry._core import ACCEL
    from gantry.protocol.remoting import CURRENT_VERSION
    from gantry.runtime import loop

    core = {"c": "compiled (c)", "python": "pure Python (slower; complete)"}[ACCEL]
    click.echo(f"gantry {__version__}")
    click.echo(f"core: {core}")
    click.echo(f"event loop: {loop.name()}")
    click.echo(f"remoting version announced: {CURRENT_VERSION}")
    click.echo(f"python {platform.python_version()} on {platform.system()} {platform.machine()}")
