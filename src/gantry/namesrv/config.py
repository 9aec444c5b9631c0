"""Settings of the name server, under their official names.

Source: NamesrvConfig, NettyServerConfig (5.5).
"""

from __future__ import annotations

import os

from gantry.runtime.config import Config, key


def _in_home(name: str) -> str:
    return os.path.join(os.path.expanduser("~"), "namesrv", name)


class NamesrvConfig(Config):
    """One name server's settings. Reloadable keys may be set over the wire (UPDATE_NAMESRV_CONFIG); paths never."""

    listen_port: int = key("listenPort", 9876, doc="Port for brokers, clients and tools.", minimum=0, maximum=65535)
    bind_address: str = key("bindAddress", "0.0.0.0", doc="Address to listen on.")
    server_channel_max_idle_time_seconds: int = key(
        "serverChannelMaxIdleTimeSeconds",
        120,
        doc="A connection on which nothing was read or written for this long is closed.",
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    connections_max: int = key(
        "connectionsMax", 20_000, doc="Connections at a time; further ones are closed at once.", minimum=1
    )
    connections_per_address_max: int = key(
        "connectionsPerAddressMax", 4_000, doc="Connections from one address; further ones are closed at once.", minimum=1
    )

    rocketmq_home: str = key(
        "rocketmqHome",
        lambda: os.environ.get("ROCKETMQ_HOME", ""),
        doc="Installation directory. Accepted; the name server reads nothing from it.",
    )
    kv_config_path: str = key(
        "kvConfigPath", lambda: _in_home("kvConfig.json"), doc="File of the KV table (order topics and the like)."
    )
    config_store_path: str = key(
        "configStorePath",
        lambda: _in_home("namesrv.properties"),
        doc="File that settings changed at run time are saved to; the file given with -c, if one is.",
    )

    order_message_enable: bool = key(
        "orderMessageEnable",
        False,
        doc="Add the order configuration of a topic (KV namespace ORDER_TOPIC_CONFIG) to its route.",
        reloadable=True,
    )
    return_order_topic_config_to_broker: bool = key(
        "returnOrderTopicConfigToBroker",
        True,
        doc="Answer registrations with all order configurations.",
        reloadable=True,
    )
    support_acting_master: bool = key(
        "supportActingMaster",
        False,
        doc="Show the smallest slave as master where the master is gone, for locks, offsets and searches.",
        reloadable=True,
    )
    notify_min_broker_id_changed: bool = key(
        "notifyMinBrokerIdChanged",
        False,
        doc="Tell the members of a broker name when their smallest id changes (request 905).",
        reloadable=True,
    )
    delete_topic_with_broker_registration: bool = key(
        "deleteTopicWithBrokerRegistration",
        False,
        doc=(
            "Drop topics that a full registration no longer lists. Only together with the brokers' "
            "enableSingleTopicRegister, or routes are lost."
        ),
        reloadable=True,
    )
    enable_all_topic_list: bool = key("enableAllTopicList", True, doc="Answer the list of all topics.", reloadable=True)
    enable_topic_list: bool = key("enableTopicList", True, doc="Answer the topic lists by cluster and unit.", reloadable=True)
    need_wait_for_service: bool = key(
        "needWaitForService",
        False,
        doc="Refuse route queries after the start until brokers had waitSecondsForService to register.",
        reloadable=True,
    )
    wait_seconds_for_service: int = key(
        "waitSecondsForService",
        45,
        doc="How long needWaitForService refuses.",
        unit="seconds",
        minimum=0,
        maximum=3_600,
        reloadable=True,
    )

    scan_not_active_broker_interval: int = key(
        "scanNotActiveBrokerInterval",
        5_000,
        doc="How often silent brokers are looked for.",
        unit="ms",
        minimum=10,
        maximum=3_600_000,
    )
    unregister_broker_queue_capacity: int = key(
        "unRegisterBrokerQueueCapacity",
        3_000,
        doc="Brokers that may wait to be unregistered in one batch; more are answered with code 1.",
        unit="brokers",
        minimum=1,
        maximum=1_000_000,
    )
    client_request_thread_pool_nums: int = key(
        "clientRequestThreadPoolNums", 8, doc="Accepted without effect: one loop serves all requests.", minimum=1
    )
    default_thread_pool_nums: int = key(
        "defaultThreadPoolNums", 16, doc="Accepted without effect: one loop serves all requests.", minimum=1
    )
    client_request_thread_pool_queue_capacity: int = key(
        "clientRequestThreadPoolQueueCapacity", 50_000, doc="Accepted without effect: requests do not queue.", minimum=1
    )
    default_thread_pool_queue_capacity: int = key(
        "defaultThreadPoolQueueCapacity", 10_000, doc="Accepted without effect: requests do not queue.", minimum=1
    )
    config_black_list: str = key(
        "configBlackList",
        "configBlackList;configStorePath;kvConfigPath",
        doc="Accepted; keys named here are refused at run time, beside all that are not reloadable anyway.",
    )
    cluster_test: bool = key(
        "clusterTest", False, doc="Look missing topics up at the name servers of another environment. Not offered yet."
    )
    product_env_name: str = key("productEnvName", "center", doc="Name of that environment.")
    enable_controller_in_namesrv: bool = key(
        "enableControllerInNamesrv", False, doc="Run a controller in the same process. Not offered yet."
    )
