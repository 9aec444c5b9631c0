"""What the commands of `gantry` share: the name server option, running a coroutine, telling failures in one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from gantry.errors import MQError
from gantry.runtime import loop

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_NAME_SERVER = "127.0.0.1:9876"


def name_servers_option(function: F) -> F:
    """-n / --name-servers, else NAMESRV_ADDR, else the port `gantry dev` uses."""
    return click.option(
        "-n",
        "--name-servers",
        envvar="NAMESRV_ADDR",
        default=DEFAULT_NAME_SERVER,
        show_default=True,
        metavar="HOST:PORT[;...]",
        help="Name servers; by default from NAMESRV_ADDR.",
    )(function)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end. A failure of ours is one line on stderr and exit status 1; Ctrl-C ends with 130."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(message)s")
    try:
        return loop.run(main)
    except MQError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def body_text(body: bytes, *, chars_max: int = 0) -> str:
    """A body for people: text where it is text, else hexadecimal; control characters are shown, not obeyed."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "0x" + body.hex()
    if not text.isprintable():
        text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return text[: chars_max - 1] + "…" if chars_max and len(text) > chars_max else text
