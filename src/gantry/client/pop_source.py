"""Where a consumer's pops go, and the waiting at several brokers at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gantry.errors import MQError
from gantry.model import SubscriptionData, perm_name
from gantry.protocol.remoting.header.notification import NotificationRequestHeader
from gantry.protocol.remoting.header.pop_message import INIT_MAX, INIT_MIN, PopMessageRequestHeader
from gantry.runtime.clock import Clock

from .client_instance import ClientInstance
from .consumer_options import ConsumeFromWhere
from .results import PopResult

logger = logging.getLogger(__name__)

ALL_QUEUES = -1


class Place(NamedTuple):
    """Where a pop goes: all queues of a topic at one broker."""

    topic: str
    broker_name: str


class PopSource:
    """Asks the brokers of the subscribed topics. `subscriptions` by topic; the consumer changes them as it likes."""

    def __init__(
        self, group: str, clock: Clock, subscriptions: Mapping[str, SubscriptionData], where: ConsumeFromWhere
    ) -> None:
        self._group = group
        self._clock = clock
        self._subscriptions = subscriptions
        self._init_mode = INIT_MIN if where is ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET else INIT_MAX
        self._turn = 0

    async def places(self, instance: ClientInstance) -> list[Place]:
        """Every broker of every subscribed topic, beginning with another one each time.

        Raises: ClientError when no name server answers that is asked for a new topic.
        """
        places = []
        for topic in sorted(self._subscriptions):
            route = instance.routes.route(topic)
            if route is None and await instance.refresh_route(topic):
                route = instance.routes.route(topic)
            if route is None:
                logger.info("topic %s does not exist yet; group %s waits for it", topic, self._group)
                continue
            names = sorted(data.broker_name for data in route.queue_datas if perm_name.is_readable(data.perm))
            # A broker whose master is away pops nothing; it is there again when its route is.
            places += [Place(topic, name) for name in names if instance.routes.master_address(name) is not None]
        if not places:
            return []
        self._turn += 1
        first = self._turn % len(places)
        return places[first:] + places[:first]

    async def pop(
        self,
        instance: ClientInstance,
        place: Place,
        subscription: SubscriptionData,
        *,
        count: int,
        invisible_ms: int,
        poll_ms: int,
    ) -> PopResult:
        """One pop. Raises: BrokerError, RemotingError, ClientError without a master."""
        header = PopMessageRequestHeader(
            consumer_group=self._group,
            topic=place.topic,
            queue_id=ALL_QUEUES,
            max_msg_nums=count,
            invisible_time=invisible_ms,
            poll_time=poll_ms,
            born_time=self._clock.now_ms(),
            init_mode=self._init_mode,
            exp_type=subscription.expression_type,
            exp=subscription.sub_string,
        )
        return await instance.pops.pop(instance.master_address(place.broker_name), header, broker_name=place.broker_name)

    async def wait_for_any(self, instance: ClientInstance, places: Sequence[Place], wait_ms: int) -> None:
        """Returns when one of the places has a message, or the time is over.

        It takes nothing: pops at several brokers at once would bring messages that nobody has asked for.
        """
        pending = {asyncio.create_task(self._wait_for(instance, place, wait_ms)) for place in places}
        waits = list(pending)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if any(wait.result() for wait in done):
                    return
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _wait_for(self, instance: ClientInstance, place: Place, wait_ms: int) -> bool:
        subscription = self._subscriptions.get(place.topic)
        if subscription is None:
            return False
        header = NotificationRequestHeader(
            consumer_group=self._group,
            topic=place.topic,
            queue_id=ALL_QUEUES,
            poll_time=wait_ms,
            born_time=self._clock.now_ms(),
            exp_type=subscription.expression_type,
            exp=subscription.sub_string,
        )
        try:
            address = instance.master_address(place.broker_name)
            return await instance.pops.wait_for_message(address, header, broker_name=place.broker_name)
        except MQError as error:
            logger.info("%s at %s is not waited for: %s", place.topic, place.broker_name, error)
            await self._clock.sleep_ms(wait_ms)
            return False
