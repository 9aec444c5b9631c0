"""`gantry`: the command. A sub-command's module is loaded when it is called, so that each starts as fast as it can."""

from __future__ import annotations

import gc
import importlib

import click

COMMANDS = {
    "dev": ("gantry.cli.dev", "Run a name server and a broker in one process, for development."),
    "send": ("gantry.cli.send", "Send messages to a topic."),
    "tail": ("gantry.cli.tail", "Show the messages of a topic as they arrive."),
    "inspect": ("gantry.cli.inspect", "Show what is in a store file, without a broker."),
    "group": ("gantry.cli.group", "Say what is wrong with a consumer group; move it to another place."),
    "timer": ("gantry.cli.timer", "List, cancel and move what waits for its delivery time; messages by cron."),
    "config": ("gantry.cli.config_reference", "Show every setting of a server: default, what it takes, what it does."),
    "demo": ("gantry.cli.demo", "Start a server, send messages, receive them, show them, stop."),
    "version": ("gantry.cli.version", "Show the version, the core in use and the event loop."),
}


class LazyGroup(click.Group):
    """Knows its commands by name and sentence; imports one only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        entry = COMMANDS.get(name)
        if entry is None:
            return None
        # What modules make stays for life; looking through it again and again while it grows only costs start time.
        gc.disable()
        try:
            command: click.Command = importlib.import_module(entry[0]).command
        finally:
            gc.freeze()
            gc.enable()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Gantry: a message platform that speaks RocketMQ.

    \b
    Start here:  gantry dev                          (in one terminal)
                 gantry tail Hello                   (in a second one)
                 gantry send Hello "first message"   (in a third one)
    """


def main() -> None:
    cli(prog_name="gantry")


if __name__ == "__main__":
    main()
