"""What the server commands share: the configuration file of `-c`, the list of `-p`, the log file."""

from __future__ import annotations

import sys

import click

from gantry.errors import ConfigError
from gantry.runtime.config import Config
from gantry.runtime.lifecycle import EXIT_FAILED
from gantry.runtime.logging_setup import escape_control, set_up_logging
from gantry.runtime.properties import decode_properties, parse_properties

CONTEXT = {"help_option_names": ["-h", "--help"]}


def read_properties_file(path: str) -> dict[str, str]:
    """The pairs of the file given with -c. Raises: ConfigError naming the file."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ConfigError(f"configuration file {path} cannot be read: {error.strerror or error}") from error
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise ConfigError(f"configuration file {path}, line {line}: a zero byte; this is no file of settings")
    try:
        return parse_properties(decode_properties(data))
    except ConfigError as error:
        raise ConfigError(f"configuration file {path}, {error}") from error


def print_config(config: Config) -> None:
    """Every setting as `key=value`, for -p; secrets are masked."""
    for name, text in config.to_properties(mask_secrets=True).items():
        click.echo(f"{name}={escape_control(text)}")


def start_logging(name: str) -> None:
    """Logs go to ~/logs/rocketmqlogs/<name>.log. Where that cannot be written the server starts all the same, and says so:
    a container without a home directory is no reason to be down."""
    try:
        set_up_logging(name)
    except ConfigError as error:
        print(f"{error}; there will be no log file", file=sys.stderr)


def refuse(error: Exception) -> int:
    """Says on stderr why the server does not start. Returns: the exit status."""
    print(escape_control(str(error)), file=sys.stderr)
    return EXIT_FAILED
