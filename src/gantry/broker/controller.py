"""BrokerController: one broker, from its settings to its ports."""

from __future__ import annotations

import logging
import os
import posixpath
from typing import TYPE_CHECKING

from gantry.errors import ConfigError
from gantry.model import TopicConfig, names, topic_validator
from gantry.protocol.message.unique_id import UniqueIdMaker
from gantry.runtime.address import format_address, format_address_list
from gantry.runtime.address_source import NamesrvAddressSource
from gantry.runtime.channel import Channel
from gantry.runtime.clock import Clock
from gantry.runtime.disk import Disk
from gantry.runtime.lifecycle import Lifecycle
from gantry.runtime.loop import name as loop_name
from gantry.runtime.net import Net
from gantry.runtime.remoting_client import RemotingClient
from gantry.runtime.remoting_limits import RemotingLimits
from gantry.runtime.remoting_server import RemotingServer, RequestTable
from gantry.runtime.rng import Rng
from gantry.store import MessageStore
from gantry.store.config import StorePaths

from .client_manager import build_client_manager
from .cold_data import ColdDataService
from .config import BrokerConfig
from .config_updates import ConfigUpdates
from .consumer_filter import ConsumerFilterManager
from .context import BrokerContext
from .hot import BusyPoll, HotEngine, HotIngest, HotTurn
from .long_polling import PullRequestHold, Watches
from .message_request_mode_manager import MessageRequestModeManager
from .metrics import DELAY, MetricsCounters, OutKey
from .name_servers import NameServers
from .offset import ConsumerOffsetManager
from .outer_api import BrokerOuterAPI
from .pop import PopRoom
from .processor.table import RequestTables
from .recurring import RecurringTimerService
from .registration import Registration
from .replicas import Replicas
from .schedule import ScheduleMessageService
from .start_settings import check_settings, ip_or_loopback, name_server_plan, promises, resolved
from .stats import build_broker_stats
from .subscription import SubscriptionGroupManager
from .table_saver import TableSaver
from .timer import TimerMessageService
from .topic import TopicConfigManager
from .transaction import TransactionMetrics, TransactionService
from .waiting_sends import WaitingSends

if TYPE_CHECKING:
    from .metrics.exporter import MetricsExporter
    from .metrics.rpc import RpcTimes

log = logging.getLogger(__name__)

STOP_GRACE_MS = 3000
PROM = "PROM"
SCHEDULED = OutKey(topic_validator.SCHEDULE_TOPIC, names.SCHEDULE_CONSUMER_GROUP, None)
PARKED = TopicConfig(topic_name=topic_validator.TRANS_CHECK_MAX_TIME_TOPIC, read_queue_nums=1, write_queue_nums=1)


class BrokerController:
    """Composes the store, the tables, the request processors and the two ports.

    start() returns when the ports are open and every known name server has been told (or did not answer); stop() ends
    everything in reverse, with all metadata and messages on the disk. A start that fails stops what it had begun.
    `busy_poll`: this process serves, so the loop may stay awake between requests (`busyPollMicros`); not for simulated clocks.
    Raises: ConfigError for settings this version does not offer.
    """

    def __init__(
        self,
        config: BrokerConfig,
        *,
        net: Net,
        clock: Clock,
        disk: Disk,
        rng: Rng,
        explicit_name_servers: str | None = None,
        busy_poll: bool = False,
    ) -> None:
        check_settings(config)
        self.config = config
        self._clock = clock
        self._net = net
        paths = StorePaths(config.store_path_root_dir)
        checksum_dir = posixpath.join(paths.own, "checksums")
        client = RemotingClient(net, clock)
        store = MessageStore(config.store_config(), disk=disk, clock=clock, rng=rng, on_arrive=self._message_arrived)
        client_manager = build_client_manager(config, clock)
        source = NamesrvAddressSource(
            net,
            clock,
            name_server_plan(config, explicit_name_servers),
            refresh_ms=config.fetch_namesrv_addr_interval,
            on_change=lambda addresses: self._registration.name_servers_changed(),
        )
        self._name_servers = NameServers(
            source,
            clock,
            by_dns=config.fetch_name_srv_addr_by_dns_lookup,
            on_change=lambda: self._registration.name_servers_changed(),
        )
        outer_api = BrokerOuterAPI(config, client, name_servers=lambda: self._name_servers.addresses)
        topics = TopicConfigManager(
            config,
            disk,
            clock,
            directory=paths.config,
            checksum_dir=checksum_dir,
            on_change=lambda names: self._registration.topics_changed(names),
        )
        stats = build_broker_stats(config, clock, topics)
        metrics = MetricsCounters()
        stats.on_hot_get = metrics.pulled
        self._registration = Registration(config, clock, topics, outer_api)
        subscriptions = SubscriptionGroupManager(config, disk, clock, directory=paths.config, checksum_dir=checksum_dir)
        offsets = ConsumerOffsetManager(config, disk, clock, directory=paths.config, checksum_dir=checksum_dir)
        transactions = TransactionService(
            config,
            clock,
            store,
            offsets,
            client_manager.producers,
            TransactionMetrics(disk, clock, directory=paths.config, checksum_dir=checksum_dir),
            host=lambda: self.context.store_host,
            make_parked_topic=lambda: topics.create_if_absent(PARKED),
            on_stored=stats.topic_put,
        )
        timer = TimerMessageService(
            config,
            disk,
            clock,
            store,
            root=config.store_path_root_dir,
            directory=paths.config,
            checksum_dir=checksum_dir,
            on_delivered=self._timer_fired,
            on_entered=metrics.timer_entered,
        )
        self._watches = Watches(self._watch)
        self.context = BrokerContext(
            config=config,
            clock=clock,
            rng=rng,
            disk=disk,
            store=store,
            topics=topics,
            subscriptions=subscriptions,
            offsets=offsets,
            consumer_filters=ConsumerFilterManager(config, disk, clock, directory=paths.config, checksum_dir=checksum_dir),
            consumers=client_manager.consumers,
            producers=client_manager.producers,
            locks=client_manager.locks,
            client_manager=client_manager,
            long_polling=PullRequestHold(clock, count_max=config.pull_hold_count_max),
            schedule=ScheduleMessageService(
                config,
                disk,
                clock,
                store,
                directory=paths.config,
                checksum_dir=checksum_dir,
                on_delivered=self._delayed_delivered,
            ),
            timer=timer,
            recurring=RecurringTimerService(
                config,
                disk,
                clock,
                rng,
                store,
                timer,
                topics,
                directory=paths.own,
                checksum_dir=checksum_dir,
                host=lambda: self.context.store_host,
            ),
            stats=stats,
            metrics=metrics,
            outer_api=outer_api,
            remoting_client=client,
            registration=self._registration,
            replicas=Replicas(config),
            unique_ids=UniqueIdMaker(ip=ip_or_loopback(config.broker_ip1), pid=os.getpid(), seed=rng.randrange(1 << 32)),
            waiting_sends=WaitingSends(config.send_wait_count_max),
            cold_data=ColdDataService(config, clock),
            config_updates=ConfigUpdates(config, disk, clock),
            request_modes=MessageRequestModeManager(disk, directory=paths.config, checksum_dir=checksum_dir),
            transactions=transactions,
            pop=PopRoom(
                config,
                disk,
                clock,
                store,
                topics,
                subscriptions,
                offsets,
                stats,
                metrics,
                own_directory=paths.own,
                config_directory=paths.config,
                checksum_dir=checksum_dir,
                watch=self._watches.watch,
            ),
            address="",
            store_host=(ip_or_loopback(config.broker_ip1), config.listen_port),
            on_topic_change=lambda names: self._registration.topics_changed(names),
            config_changed=self._config_changed,
        )
        self.context.long_polling.on_watch = self._watches.watch
        client_manager.consumers.on_group_gone = self.context.consumer_filters.unregister
        for queue_id in range(store.delay_levels.level_max):
            store.watch(topic_validator.SCHEDULE_TOPIC, queue_id, True)
        store.watch(topic_validator.TIMER_TOPIC, 0, True)
        polls = BusyPoll(clock, config.busy_poll_micros) if busy_poll and config.busy_poll_micros else None
        engine = HotEngine(self.context)
        self._turn = HotTurn(engine, self.context, polls)
        self.context.long_polling.short_way = engine.answer_held
        self.context.stats.hot = engine
        metrics.hot = engine
        metrics.settle_outs = self._settle_metrics
        self._tables = RequestTables(self.context)
        self._limits = RemotingLimits(
            idle_ms=config.server_channel_max_idle_time_seconds * 1000,
            connections_max=config.connections_max,
            connections_per_address_max=config.connections_per_address_max,
        )
        self._server = self._make_server(self._tables.main)
        self._fast_server = self._make_server(self._tables.fast)
        saver = TableSaver(self.context)
        self._life = Lifecycle()
        self._life.add("connections to others", stop=client.close)
        self._life.add("store", start=self._load, stop=store.shutdown)
        self._life.add("popped messages' journal", stop=self.context.pop.close)
        self._life.add("metadata files", start=saver.start, stop=saver.stop)
        self._life.add("store writing", start=store.start)
        self._life.add("popped messages", start=self.context.pop.start, stop=self.context.pop.shutdown)
        self._life.add("delay levels", start=self.context.schedule.start, stop=self.context.schedule.shutdown)
        self._life.add("transactions", start=transactions.start, stop=transactions.shutdown)
        self._life.add("timer", start=self.context.timer.start, stop=self.context.timer.shutdown)
        self._life.add("clients", start=client_manager.start, stop=client_manager.shutdown)
        self._life.add("cold reads", start=self.context.cold_data.start, stop=self.context.cold_data.shutdown)
        self._life.add("statistics", start=self._start_stats, stop=self._stop_stats)
        self._life.add("port", start=self._listen, stop=self._server.close)
        self._life.add("fast port", start=self._listen_fast, stop=self._fast_server.close)
        self._life.add("recurring timers", start=self.context.recurring.start, stop=self.context.recurring.shutdown)
        self._metrics_exporter: MetricsExporter | None = None
        self._rpc_times: RpcTimes | None = None
        if config.metrics_exporter_type == PROM:
            self._add_metrics_exporter()
        self._life.add("held pulls", stop=self._answer_held_pulls)
        self._life.add("name server list", start=self._name_servers.start, stop=self._name_servers.stop)
        self._life.add("registration", start=self._registration.start, stop=self._registration.shutdown)

    @property
    def address(self) -> str:
        """What clients are told to connect to, "ip:port"; known once started."""
        return self.context.address

    @property
    def fast_address(self) -> tuple[str, int]:
        """Where the fast port listens; known once started."""
        return self._fast_address

    @property
    def name_servers(self) -> list[str]:
        return self._name_servers.addresses

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Where metrics are served; known once started, None when they are not."""
        return self._metrics_exporter.address if self._metrics_exporter is not None else None

    def boot_line(self) -> str:
        """The official line that says the broker is ready."""
        line = f"The broker[{self.config.broker_name}, {self.address}] boot success. serializeType=JSON"
        servers = self._name_servers.configured
        return f"{line} and name server is {format_address_list(servers)}" if servers else line

    def load_every_request(self) -> None:
        """Loads what answers operators now, and not with their first request: that would wait, and all others with it."""
        self._tables.complete()

    async def start(self) -> str:
        """Raises: StoreLocked, StoreDamaged, DiskError, ListenError, each with a sentence that says what and where."""
        for line in promises(self.config):
            log.warning("%s", line)
        log.info(
            "hot path: %s, event loop: %s",
            "compiled core (c)" if self._turn.engine.name == "c" else "pure Python core",
            loop_name(),
        )
        await self._life.start()
        self.context.started_ms = self._clock.now_ms()
        return self.boot_line()

    async def stop(self) -> None:
        await self._life.stop()

    # -- parts

    async def _load(self) -> None:
        """The log first, then the tables: offsets above a log that lost its tail are brought down before anyone asks."""
        context = self.context
        await context.store.load()
        try:
            for table in (
                context.topics,
                context.subscriptions,
                context.offsets,
                context.consumer_filters,
                context.schedule,
                context.request_modes,
                context.recurring,
            ):
                table.load()
            context.transactions.metrics.load()
            context.offsets.bring_down_to(context.store.max_offset)
            await context.pop.load()
        except BaseException:
            await context.store.shutdown()
            raise

    async def _start_stats(self) -> None:
        self.context.stats.start()

    async def _stop_stats(self) -> None:
        self.context.stats.shutdown()

    async def _listen(self) -> None:
        config, context = self.config, self.context
        chosen = config.listen_port
        _, port = await self._server.listen(config.bind_address, chosen)
        config.listen_port = port
        context.address = format_address(config.broker_ip1.strip("[]"), port)
        context.store_host = (await resolved(config.broker_ip1), port)
        context.outer_api.address = context.address
        context.outer_api.ha_address = format_address(config.broker_ip2.strip("[]"), config.effective_ha_listen_port)
        self._fast_port_wanted = 0 if chosen == 0 else config.fast_listen_port

    async def _listen_fast(self) -> None:
        if self._fast_port_wanted < 0:
            raise ConfigError(f"listenPort={self.config.listen_port} leaves no fast port two below it")
        self._fast_address = await self._fast_server.listen(self.config.bind_address, self._fast_port_wanted)

    async def _answer_held_pulls(self) -> None:
        self._server.stop_listening()
        self._fast_server.stop_listening()
        self.context.long_polling.close()
        self.context.cold_data.release()
        self.context.pop.answer_held()

    def _make_server(self, table: RequestTable) -> RemotingServer:
        return RemotingServer(
            self._net,
            self._clock,
            table,
            limits=self._limits,
            on_close=self._channel_closed,
            ingest_factory=lambda channel: HotIngest(self._turn, channel, self._limits),
        )

    def _add_metrics_exporter(self) -> None:
        # Loaded here only: most brokers have no exporter, and it brings a library.
        from .metrics.exporter import MetricsExporter
        from .metrics.rpc import RpcTimes

        context = self.context
        exporter = self._metrics_exporter = MetricsExporter(context, context.metrics, self._net, self._clock)
        if self.config.enable_remoting_metrics:
            times = self._rpc_times = RpcTimes(context.metrics, self._clock, context.topics.is_system_topic)
            for server in (self._server, self._fast_server):
                server.dispatcher.observer = times.request
            self._turn.observe = times.sends
            context.long_polling.short_way = times.counting_held(self._turn.engine.answer_held)
        self._life.add("metrics", start=exporter.start, stop=exporter.stop)

    def _settle_metrics(self) -> None:
        self.context.stats.settle_totals()
        if self._rpc_times is not None:
            self._rpc_times.pulls(getattr(self._turn.engine, "pulls_answered", 0))

    # -- events

    def _delayed_delivered(self, topic: str, queue_id: int, count: int, size: int) -> None:
        """Source: ScheduleMessageService.PutResultProcess.onSuccess (5.5)."""
        self.context.stats.topic_put(topic, queue_id, count, size)
        self.context.metrics.message_out(SCHEDULED, count, size)
        self.context.metrics.copy_in(topic, DELAY, count, size)

    def _timer_fired(self, topic: str, queue_id: int, count: int, size: int) -> None:
        self.context.stats.topic_put(topic, queue_id, count, size)
        if topic != topic_validator.TIMER_TOPIC:
            self.context.metrics.timer_fired(topic)

    def _channel_closed(self, channel: Channel) -> None:
        self.context.long_polling.channel_closed(channel.id)
        self.context.pop.channel_closed(channel.id)
        self.context.client_manager.on_channel_closed(channel)

    def _message_arrived(
        self, topic: str, queue_id: int, next_offset: int, tags_code: int, store_timestamp: int, properties: bytes
    ) -> None:
        context = self.context
        context.long_polling.message_arrived(topic, queue_id, next_offset, tags_code, store_timestamp, properties)
        context.pop.message_arrived(topic, queue_id, tags_code, properties)
        if topic == topic_validator.SCHEDULE_TOPIC:
            context.schedule.message_arrived(queue_id)
        elif topic == topic_validator.TIMER_TOPIC:
            context.timer.message_arrived()

    def _watch(self, topic: str, queue_id: int, watched: bool) -> None:
        # The delay levels and the timer always wait for theirs.
        if topic not in (topic_validator.SCHEDULE_TOPIC, topic_validator.TIMER_TOPIC):
            self.context.store.watch(topic, queue_id, watched)

    def _config_changed(self) -> None:
        self.config.copy_to(self.context.store.config)
