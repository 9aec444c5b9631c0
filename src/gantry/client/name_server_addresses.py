"""Which name servers a client talks to."""

from __future__ import annotations

import os

from gantry.errors import ConfigError
from gantry.runtime.address import parse_address_list

ENVIRONMENT_KEY = "NAMESRV_ADDR"


def resolve_name_servers(given: str | None) -> list[str]:
    """Addresses from the argument (`a:9876;b:9876`), else from NAMESRV_ADDR.

    Raises: ConfigError when neither names one, saying how to; or when the text is no address list.
    """
    text = given if given is not None else os.environ.get(ENVIRONMENT_KEY, "")
    addresses = parse_address_list(text)
    if not addresses:
        raise ConfigError(
            f"no name server is given: pass name_servers='127.0.0.1:9876' (several joined by ';') "
            f"or set the environment variable {ENVIRONMENT_KEY}"
        )
    return addresses
