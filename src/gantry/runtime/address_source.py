"""Where name servers are: said by the caller, configured, in the environment, or asked of an HTTP address server.

Order: explicit (an option, or code), the configuration key, NAMESRV_ADDR, the HTTP endpoint. The first three never
change while the process runs; the endpoint is asked again periodically, and its list replaces the former one when it
differs. An endpoint that fails or answers nonsense leaves the last list in force.
Source: ClientConfig.namesrvAddr, MQClientInstance.startScheduledTask, TopAddressing / DefaultTopAddressing (5.3).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping

import msgspec

from gantry.errors import ConfigError, MQError

from .address import parse_address_list
from .clock import Clock, TimerHandle
from .http_get import http_get
from .net import Net

log = logging.getLogger(__name__)

ENVIRONMENT_KEY = "NAMESRV_ADDR"
DEFAULT_DOMAIN = "jmenv.tbsite.net"
DEFAULT_SUBGROUP = "nsaddr"
CLIENT_REFRESH_MS = 120_000
FIRST_REFRESH_MS = 10_000
BROKER_REFRESH_MS = 10_000
FETCH_TIMEOUT_MS = 3_000

AddressesChanged = Callable[[list[str]], None]


def http_endpoint(
    domain: str = DEFAULT_DOMAIN,
    subgroup: str = DEFAULT_SUBGROUP,
    *,
    unit: str | None = None,
    parameters: Mapping[str, str] | None = None,
) -> str:
    """`http://{domain}:8080/rocketmq/{subgroup}`; a domain that names a port keeps it.

    With a unit name: `-{unit}?nofix=1` is appended, then the parameters.
    """
    url = f"http://{domain}" + ("" if ":" in domain else ":8080") + f"/rocketmq/{subgroup}"
    if unit:
        url += f"-{unit}?nofix=1"
    for index, (name, value) in enumerate((parameters or {}).items()):
        url += ("?" if index == 0 and not unit else "&") + f"{name}={value}"
    return url


class NamesrvAddressPlan(msgspec.Struct, frozen=True):
    """What choose_namesrv_addresses decided: a fixed list, or the endpoint to ask."""

    addresses: list[str]
    endpoint: str | None
    source: str


def choose_namesrv_addresses(
    *,
    explicit: str | None = None,
    configured: str | None = None,
    environ: Mapping[str, str] | None = None,
    endpoint: str | None = None,
) -> NamesrvAddressPlan:
    """Pick the way by the order above; blank texts count as absent.

    Raises: ConfigError for a list that does not parse, naming where it stands.
    """
    environ = os.environ if environ is None else environ
    for source, text in (
        ("the option or setter", explicit),
        ("the configuration key namesrvAddr", configured),
        (f"the environment variable {ENVIRONMENT_KEY}", environ.get(ENVIRONMENT_KEY)),
    ):
        if text is not None and text.strip():
            try:
                addresses = parse_address_list(text)
            except ConfigError as e:
                raise ConfigError(f"name server addresses of {source}: {e}") from e
            if addresses:
                return NamesrvAddressPlan(addresses, None, source)
    return NamesrvAddressPlan([], endpoint, f"the address server {endpoint}" if endpoint else "nowhere")


class NamesrvAddressSource:
    """The current list of name servers, kept fresh when it comes from an HTTP endpoint.

    start() returns when a first list is known or its fetch failed. `on_change` is told each new list, the first one of an
    endpoint included; a fixed list never changes. The first refresh follows after `first_refresh_ms`, which is short so
    that a failed first fetch is soon made up for; then one every `refresh_ms`.
    """

    def __init__(
        self,
        net: Net,
        clock: Clock,
        plan: NamesrvAddressPlan,
        *,
        refresh_ms: float = CLIENT_REFRESH_MS,
        first_refresh_ms: float = FIRST_REFRESH_MS,
        timeout_ms: float = FETCH_TIMEOUT_MS,
        on_change: AddressesChanged | None = None,
    ) -> None:
        self._net = net
        self._clock = clock
        self._plan = plan
        self._refresh_ms = refresh_ms
        self._first_refresh_ms = min(first_refresh_ms, refresh_ms)
        self._timeout_ms = timeout_ms
        self._on_change = on_change
        self._addresses = list(plan.addresses)
        self._timer: TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._started = False

    @property
    def addresses(self) -> list[str]:
        """The list now in force; empty when nothing is known."""
        return list(self._addresses)

    async def start(self) -> list[str]:
        """Fetch once when there is an endpoint, then keep asking; returns the list, maybe empty."""
        self._started = True
        if self._plan.endpoint is not None:
            await self.refresh()
            self._schedule(self._first_refresh_ms)
        return self.addresses

    async def stop(self) -> None:
        self._started = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def refresh(self) -> bool:
        """Ask the endpoint now; returns whether the list changed. Failures are logged, never raised."""
        endpoint = self._plan.endpoint
        if endpoint is None:
            return False
        try:
            status, body = await http_get(self._net, self._clock, endpoint, timeout_ms=self._timeout_ms)
            if status != 200:
                log.warning("%s answers status %d; the name server list stays %s", endpoint, status, self._shown())
                return False
            first_line = body.decode("utf-8", "replace").lstrip().splitlines()[:1]
            addresses = parse_address_list(first_line[0]) if first_line else []
        except MQError as e:
            log.warning("name servers cannot be asked for, the list stays %s: %s", self._shown(), e)
            return False
        if not addresses:
            log.warning("%s names no name server; the list stays %s", endpoint, self._shown())
            return False
        if set(addresses) == set(self._addresses):
            return False
        log.info("name server list changes from %s to %s", self._shown(), ";".join(addresses))
        self._addresses = addresses
        if self._on_change is not None:
            self._on_change(self.addresses)
        return True

    def _shown(self) -> str:
        return ";".join(self._addresses) or "empty"

    def _schedule(self, delay_ms: float) -> None:
        if self._started:
            self._timer = self._clock.call_later(delay_ms, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._refresh_and_schedule())

    async def _refresh_and_schedule(self) -> None:
        try:
            await self.refresh()
        except Exception:
            # A listener failed; the list is kept and the next refresh must come all the same.
            log.exception("the new name server list could not be taken over")
        self._schedule(self._refresh_ms)
