"""Settings of the broker, under their official names.

The store's keys are in `store_keys` and inherited here, so that one object holds them all and every key is declared once.
"""

from __future__ import annotations

from gantry.model import perm_name, topic_validator
from gantry.runtime.address import host_name, local_ip
from gantry.runtime.config import key

from .store_keys import StoreKeys

ASYNC_MASTER = "ASYNC_MASTER"
SYNC_MASTER = "SYNC_MASTER"
SLAVE = "SLAVE"


class BrokerConfig(StoreKeys):
    """A broker's settings. Source: BrokerConfig, NettyServerConfig, MessageStoreConfig (5.3, 5.5)."""

    # -- who and where
    broker_cluster_name: str = key("brokerClusterName", "DefaultCluster", doc="Cluster this broker belongs to.")
    broker_name: str = key(
        "brokerName", host_name, doc="Name shared by a master and its slaves; the machine's name by default."
    )
    broker_id: int = key("brokerId", 0, doc="0 is the master; masters are forced to it.", minimum=0)
    broker_ip1: str = key("brokerIP1", local_ip, doc="Address told to clients and name servers, and stored in messages.")
    broker_ip2: str = key("brokerIP2", local_ip, doc="Address told to slaves for replication.")
    listen_port: int = key(
        "listenPort", 10911, doc="Port of the broker; listenPort - 2 is the fast port.", minimum=0, maximum=65535
    )
    bind_address: str = key("bindAddress", "0.0.0.0", doc="Address to listen on.")
    namesrv_addr: str = key("namesrvAddr", "", doc="Name servers, `ip:port` joined by `;`.")
    fetch_namesrv_addr_by_address_server: bool = key(
        "fetchNamesrvAddrByAddressServer", False, doc="Ask the address server (HTTP) for the name servers, again and again."
    )
    fetch_name_srv_addr_by_dns_lookup: bool = key(
        "fetchNameSrvAddrByDnsLookup", False, doc="Resolve the host of namesrvAddr by DNS and use every address it has."
    )
    fetch_namesrv_addr_interval: int = key(
        "fetchNamesrvAddrInterval", 10_000, doc="Time between two questions to the address server.", unit="ms", minimum=100
    )
    rmq_address_server_domain: str = key(
        "rmqAddressServerDomain", "jmenv.tbsite.net", doc="Host of the address server, with or without a port."
    )
    rmq_address_server_sub_group: str = key("rmqAddressServerSubGroup", "nsaddr", doc="Last part of the address server's path.")
    rocketmq_home: str = key("rocketmqHome", "", doc="Kept for official files; nothing is read from it.")

    # -- registration
    register_name_server_period: int = key(
        "registerNameServerPeriod",
        30_000,
        doc="Time between two registrations; held between 10 s and 60 s.",
        unit="ms",
        minimum=1,
    )
    register_broker_timeout_mills: int = key(
        "registerBrokerTimeoutMills",
        24_000,
        doc="How long one name server may take to answer a registration.",
        unit="ms",
        minimum=1,
    )
    compressed_register: bool = key("compressedRegister", False, doc="Send the registration's body compressed.")
    force_register: bool = key(
        "forceRegister", True, doc="Register in full each time; otherwise only with name servers whose tables are old.",
        reloadable=True,
    )  # fmt: skip

    # -- topics and groups
    store_reply_message_enable: bool = key(
        "storeReplyMessageEnable",
        True,
        doc="Keep a reply in the cluster's reply topic as well; it reaches who asked either way.",
        reloadable=True,
    )
    auto_create_topic_enable: bool = key("autoCreateTopicEnable", True, doc="A send may create its topic.", reloadable=True)
    auto_create_subscription_group: bool = key(
        "autoCreateSubscriptionGroup", True, doc="A consumer may create its group.", reloadable=True
    )
    default_topic_queue_nums: int = key(
        "defaultTopicQueueNums",
        8,
        doc="Queues of a topic created by a send, at most.",
        minimum=1,
        maximum=65536,
        reloadable=True,
    )
    cluster_topic_enable: bool = key("clusterTopicEnable", True, doc="The topic named after the cluster may be used.")
    broker_topic_enable: bool = key("brokerTopicEnable", True, doc="The topic named after the broker may be used.")
    trace_topic_enable: bool = key("traceTopicEnable", False, doc="This broker keeps message traces.")
    msg_trace_topic_name: str = key("msgTraceTopicName", topic_validator.TRACE_TOPIC, doc="Topic of the message traces.")
    revive_queue_num: int = key("reviveQueueNum", 8, doc="Queues of the POP revive topic.", minimum=1)
    broker_permission: int = key(
        "brokerPermission", perm_name.PERM_READ_WRITE, doc="4 readable, 2 writeable; masks the topics' own in routes.",
        minimum=0, maximum=7, reloadable=True,
    )  # fmt: skip

    # -- sending
    start_accept_send_request_time_stamp: int = key(
        "startAcceptSendRequestTimeStamp", 0, doc="Sends before this time are refused.", unit="ms since 1970", minimum=0,
        reloadable=True,
    )  # fmt: skip
    reject_transaction_message: bool = key("rejectTransactionMessage", False, doc="Refuse half messages.", reloadable=True)
    transaction_time_out: int = key(
        "transactionTimeOut", 6_000, doc="A half message is left alone for so long before its producers are asked.", unit="ms",
        minimum=0, reloadable=True,
    )  # fmt: skip
    transaction_check_max: int = key(
        "transactionCheckMax", 15, doc="How often producers are asked for a half message before it is set aside.", minimum=0,
        reloadable=True,
    )  # fmt: skip
    transaction_check_interval: int = key(
        "transactionCheckInterval", 30_000, doc="Time between two rounds of checks.", unit="ms", minimum=100, reloadable=True
    )
    transaction_op_msg_max_size: int = key(
        "transactionOpMsgMaxSize", 4_096, doc="Bytes of an op message, which tells which half messages ended.",
        unit="bytes", minimum=20, maximum=1 << 20, reloadable=True,
    )  # fmt: skip
    transaction_op_batch_interval: int = key(
        "transactionOpBatchInterval", 3_000, doc="How long an ended half message waits to be told of together with others.",
        unit="ms", minimum=0, reloadable=True,
    )  # fmt: skip
    transaction_metric_flush_interval: int = key(
        "transactionMetricFlushInterval", 10_000, doc="Time between two writes of the counts of half messages.", unit="ms",
        minimum=100, reloadable=True,
    )  # fmt: skip
    region_id: str = key("regionId", "DefaultRegion", doc="Region put into messages and answers of sends.")
    trace_on: bool = key("traceOn", True, doc="Tell clients that tracing is wanted.", reloadable=True)
    busy_poll_micros: int = key(
        "busyPollMicros",
        50,
        doc="How long the event loop looks for the next send before it sleeps, while sends come that close; 0 for not at all.",
        unit="us",
        minimum=0,
        maximum=1000,
    )
    send_wait_count_max: int = key(
        "sendWaitCountMax",
        65_536,
        doc="Sends that may wait for the disk or a slave at a time; beyond that they are answered busy.",
        minimum=1,
    )

    recall_message_enable: bool = key(
        "recallMessageEnable", True, doc="Timer messages can be recalled by the handle that their send was answered.",
        reloadable=True,
    )  # fmt: skip
    allow_recall_when_broker_not_writeable: bool = key(
        "allowRecallWhenBrokerNotWriteable", True, doc="Also while brokerPermission forbids writing.", reloadable=True
    )

    # -- pulling
    long_polling_enable: bool = key(
        "longPollingEnable", True, doc="Pulls that find nothing wait as long as they ask.", reloadable=True
    )
    short_polling_time_mills: int = key(
        "shortPollingTimeMills",
        1000,
        doc="How long such a pull waits when longPollingEnable is off.",
        unit="ms",
        minimum=1,
        reloadable=True,
    )
    suspend_timeout_millis_max: int = key(
        "suspendTimeoutMillisMax", 600_000, doc="Longest time a pull may ask to wait.", unit="ms", minimum=1
    )
    pull_hold_count_max: int = key(
        "pullHoldCountMax", 100_000, doc="Pulls that may wait at a time; further ones are answered busy.", minimum=1
    )
    lite_pull_message_enable: bool = key("litePullMessageEnable", True, doc="Serve lite pull consumers.", reloadable=True)
    slave_read_enable: bool = key("slaveReadEnable", False, doc="Send consumers that lag to a slave.", reloadable=True)
    enable_property_filter: bool = key("enablePropertyFilter", False, doc="Allow SQL92 expressions over properties.")
    filter_support_retry: bool = key("filterSupportRetry", False, doc="Apply SQL92 expressions to retried messages too.")
    filter_data_clean_time_span: int = key(
        "filterDataCleanTimeSpan",
        24 * 3600 * 1000,
        doc="A SQL92 expression of a group that is gone is kept so long in consumerFilter.json.",
        unit="ms",
        minimum=0,
    )
    max_error_rate_of_bloom_filter: int = key(
        "maxErrorRateOfBloomFilter",
        20,
        doc="Only goes into consumerFilter.json, for a Java broker that opens this store with the same value.",
        unit="%",
        minimum=1,
        maximum=99,
    )
    expect_consumer_num_use_filter: int = key(
        "expectConsumerNumUseFilter",
        32,
        doc="Only goes into consumerFilter.json, for a Java broker that opens this store with the same value.",
        minimum=1,
        maximum=1_000_000,
    )
    reject_pull_consumer_enable: bool = key(
        "rejectPullConsumerEnable", False, doc="Refuse pulls of consumers that sent no heartbeat.", reloadable=True
    )
    use_server_side_reset_offset: bool = key(
        "useServerSideResetOffset", True, doc="Offsets reset by an operator are handed out with the next pull.", reloadable=True
    )
    pull_batch_max_message_count: int = key(
        "pullBatchMaxMessageCount", 160, doc="Messages per pull that may be asked for.", minimum=1
    )
    default_query_max_num: int = key("defaultQueryMaxNum", 32, doc="Messages a query by unique key looks for.", minimum=1)

    # -- cold reads
    cg_cold_read_threshold: int = key(
        "cgColdReadThreshold", 3 << 20, doc="Cold data that a group may read in 5 s before it is held back.", unit="bytes",
        minimum=0, reloadable=True,
    )  # fmt: skip
    global_cold_read_threshold: int = key(
        "globalColdReadThreshold", 100 << 20, doc="Cold data that all groups may read in 5 s together.", unit="bytes",
        minimum=0, reloadable=True,
    )  # fmt: skip
    cold_ctr_strategy_enable: bool = key(
        "coldCtrStrategyEnable", False, doc="Let a strategy move the thresholds of groups that have none of their own.",
        reloadable=True,
    )  # fmt: skip
    use_pid_cold_ctr_strategy: bool = key(
        "usePIDColdCtrStrategy", True, doc="Which one: by what all have read together in ten periods, or a simple one."
    )

    # -- popping
    pop_polling_size: int = key(
        "popPollingSize", 1024, doc="Pops that may wait for one queue id of a topic and group; further ones are answered full.",
        minimum=1,
    )  # fmt: skip
    max_pop_polling_size: int = key(
        "maxPopPollingSize", 100_000, doc="Pops that may wait in all; further ones are answered full.", minimum=1
    )
    pop_from_retry_probability: int = key(
        "popFromRetryProbability", 20, doc="Share of pops that look into the retry topic first.", unit="%", minimum=0,
        maximum=100, reloadable=True,
    )  # fmt: skip
    pop_from_retry_probability_for_priority: int = key(
        "popFromRetryProbabilityForPriority", 0, doc="The same for pops of a topic of priorities.", unit="%", minimum=0,
        maximum=100, reloadable=True,
    )  # fmt: skip
    priority_order_asc: bool = key(
        "priorityOrderAsc", True, doc="The greatest priority is the most urgent; false: the smallest.", reloadable=True
    )
    enable_retry_topic_v2: bool = key(
        "enableRetryTopicV2", False, doc="Name the retry topics of pops group+topic and not group_topic.", reloadable=True
    )
    retrieve_message_from_pop_retry_topic_v1: bool = key(
        "retrieveMessageFromPopRetryTopicV1", True, doc="With enableRetryTopicV2: half of the pops look into the old name.",
        reloadable=True,
    )  # fmt: skip
    enable_pop_message_threshold: bool = key(
        "enablePopMessageThreshold", False, doc="Stop handing out messages of a queue while too many are out.", reloadable=True
    )
    pop_inflight_message_threshold: int = key(
        "popInflightMessageThreshold", 10_000, doc="How many messages of a queue may be out then.", minimum=1, reloadable=True
    )
    pop_out_count_max: int = key(
        "popOutCountMax", 4_000_000, doc="Popped messages that may be out in all; beyond that pops are answered full.",
        minimum=1, reloadable=True,
    )  # fmt: skip
    init_pop_offset_by_check_msg_in_mem: bool = key(
        "initPopOffsetByCheckMsgInMem", True, doc="A new group begins at the first message while that is in memory.",
        reloadable=True,
    )  # fmt: skip
    pop_response_return_actual_retry_topic: bool = key(
        "popResponseReturnActualRetryTopic", False, doc="Show retried messages under the name of their retry topic.",
        reloadable=True,
    )  # fmt: skip
    pop_journal_bytes_max: int = key(
        "popJournalBytesMax", 16 * 1024 * 1024, doc="Journal of popped messages that is ended by a snapshot.", unit="bytes",
        minimum=256,
    )  # fmt: skip

    # -- offsets and delays
    flush_consumer_offset_interval: int = key(
        "flushConsumerOffsetInterval", 5000, doc="Time between two writes of consumerOffset.json.", unit="ms", minimum=10
    )
    consumer_offset_update_version_step: int = key(
        "consumerOffsetUpdateVersionStep", 500, doc="Commits per step of the offset table's version.", minimum=1
    )
    delay_offset_update_version_step: int = key(
        "delayOffsetUpdateVersionStep", 200, doc="Deliveries per step of the delay table's version.", minimum=1
    )

    # -- clients
    notify_consumer_ids_changed_enable: bool = key(
        "notifyConsumerIdsChangedEnable", True, doc="Tell consumers at once when their group changes.", reloadable=True
    )
    rebalance_lock_max_live_time: int = key(
        "rebalanceLockMaxLiveTime",
        60_000,
        doc="Life of an orderly consumer's queue lock; the official broker reads rocketmq.broker.rebalance.lockMaxLiveTime.",
        unit="ms",
        minimum=1_000,
    )
    subscription_conflict_policy: str = key(
        "subscriptionConflictPolicy",
        "warn",
        choices=("warn", "reject"),
        doc="When a client joins a group whose members listen to something else: warn (log and count) or reject its heartbeat.",
        reloadable=True,
    )
    channel_expired_timeout: int = key(
        "channelExpiredTimeout", 120_000, doc="A client without a heartbeat for so long is gone.", unit="ms", minimum=1
    )
    subscription_expired_timeout: int = key(
        "subscriptionExpiredTimeout", 600_000, doc="A subscription not seen for so long is forgotten.", unit="ms", minimum=1
    )
    enable_detail_stat: bool = key("enableDetailStat", True, doc="Keep figures per queue, too.")
    server_channel_max_idle_time_seconds: int = key(
        "serverChannelMaxIdleTimeSeconds", 120, doc="Connections silent for so long are closed.", unit="s", minimum=1
    )
    connections_max: int = key(
        "connectionsMax", 20_000, doc="Connections to one port; further ones are closed at once.", minimum=1
    )
    connections_per_address_max: int = key(
        "connectionsPerAddressMax", 4_000, doc="Connections to one port from one address; further ones are closed.", minimum=1
    )

    # -- metrics
    metrics_exporter_type: str = key(
        "metricsExporterType", "DISABLE", choices=("DISABLE", "PROM"),
        doc="PROM serves metrics to Prometheus; the original's OTLP_GRPC and LOG are not offered.",
    )  # fmt: skip
    metrics_prom_exporter_port: int = key(
        "metricsPromExporterPort", 5557, doc="Port of the metrics, GET /metrics; 0 lets the system choose.", minimum=0,
        maximum=65535,
    )  # fmt: skip
    metrics_prom_exporter_host: str = key("metricsPromExporterHost", "", doc="Address to serve metrics on; empty: brokerIP1.")
    metrics_label: str = key(
        "metricsLabel", "", doc="Labels of every metric, `name:value` joined by commas.", pattern=r"[^\x00-\x1f]*",
        shape="name:value,name:value",
    )  # fmt: skip
    metrics_in_delta: bool = key(
        "metricsInDelta", False, doc="Only adds the label aggregation=delta: what Prometheus reads is always cumulative."
    )
    metrics_otel_cardinality_limit: int = key(
        "metricsOtelCardinalityLimit", 50_000, doc="Series of one metric; further ones are left out.", minimum=1
    )
    enable_stats_metrics: bool = key("enableStatsMetrics", True, doc="Show the broker's own figures.")
    enable_request_metrics: bool = key("enableRequestMetrics", True, doc="Show messages in and out.")
    enable_connection_metrics: bool = key("enableConnectionMetrics", True, doc="Show connected producers and consumers.")
    enable_lag_and_dlq_metrics: bool = key("enableLagAndDlqMetrics", True, doc="Show how far groups are behind.")
    enable_transaction_metrics: bool = key("enableTransactionMetrics", True, doc="Show half messages and how they ended.")
    enable_remoting_metrics: bool = key("enableRemotingMetrics", True, doc="Show times from requests to answers.")
    enable_message_store_metrics: bool = key("enableMessageStoreMetrics", True, doc="Show the store and its timer.")
    enable_pop_metrics: bool = key("enablePopMetrics", True, doc="Show popped messages.")

    # -- administration
    enable_mixed_message_type: bool = key(
        "enableMixedMessageType", False, doc="Topics may take messages of every kind (message.type=MIXED).", reloadable=True
    )
    config_black_list: str = key(
        "configBlackList",
        "configBlackList;brokerConfigPath",
        doc="Keys that are shown to nobody and changed by nobody; the allow list of reloadable keys comes before it.",
    )
    broker_config_path: str = key("brokerConfigPath", "", doc="The file the broker was started with.")

    @property
    def is_slave(self) -> bool:
        return self.broker_role == SLAVE

    @property
    def replicas_awaited(self) -> int:
        """Copies a send waits for, this broker's included. Source: our decision P1 where inSyncReplicas is not set."""
        if self.broker_role != SYNC_MASTER:
            return 1
        return 2 if self.in_sync_replicas is None else self.in_sync_replicas

    @property
    def fast_listen_port(self) -> int:
        return self.listen_port - 2

    @property
    def effective_ha_listen_port(self) -> int:
        return self.ha_listen_port or self.listen_port + 1
