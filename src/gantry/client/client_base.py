"""What all clients have: doors, name servers, and an instance of their own while they run."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from .client_instance import ClientInstance
from .doors import Doors
from .name_server_addresses import resolve_name_servers
from .remoting import Remoting


class ClientBase:
    """Used with `async with`, or by start() and stop()."""

    def __init__(
        self, *, name_servers: str | None, instance_name: str | None, doors: Doors | None, remoting: Remoting | None
    ) -> None:
        self._doors = doors or Doors.system()
        self._name_servers = resolve_name_servers(name_servers)
        self._instance_name = instance_name
        self._remoting = remoting
        self._instance: ClientInstance | None = None

    async def start(self) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def _new_instance(self, default_name: str | None = None) -> ClientInstance:
        return ClientInstance(
            name_servers=self._name_servers,
            doors=self._doors,
            instance_name=self._instance_name or default_name,
            remoting=self._remoting,
        )
