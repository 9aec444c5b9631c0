"""The commands an operator may type, in an order that tells a story: look, create, send, read, consume, tune, clean.

Words in braces are filled in per cluster: {broker} {namesrv} {cluster} {broker_name} are its addresses and names, other
words were captured from the output of an earlier step. Every step is compared; `until` repeats a step while the answer
still moves (dispatch, offsets and heartbeats are not at once on either broker).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import parsing
from .parsing import Parser, Value, table

CREATE = parsing.lines
LONG_NAME = "n" * 128

CLIENTS_TOPIC = "AdminLive"
CLIENTS_GROUP = "admin_live"
CLIENTS_MESSAGES = 8
PRODUCER_GROUP = "admin_producers"
BROADCAST_GROUP = "admin_broadcast"

CLUSTER_LIST = table("%-22s  %-22s  %-4s  %-22s %-16s  %16s  %30s  %-22s  %11s  %-12s  %-8s  %10s")
CLUSTER_LIST_MORE = table("%-16s  %-32s %14s %14s %14s %14s")
TOPIC_LIST_GROUPS = table("%-20s  %-64s  %-64s")
TOPIC_ROUTE_LIST = table("%-45s %-32s %-50s %-10s %-11s %-5s")
TOPIC_STATUS = table("%-32s  %-4s  %-20s  %-20s    %s", ordered=True)
SEND_RESULT = table("%-32s  %-4s  %-20s    %s")
BY_KEY = table("%-50s %4s %40s %-200s", ordered=True)
PROGRESS = table("%-64s  %-32s  %-4s  %-20s  %-20s  %-20s %-20s %s", ordered=True)
PROGRESS_CLIENTS = table("%-64s  %-32s  %-4s  %-20s  %-20s  %-20s %-20s %-20s %s", ordered=True)
BROKER_CONSUME = table("%-64s  %-64s  %-32s  %-4s  %-20s  %-20s  %-20s  %s")
STATS_ALL = table("%-64s  %-64s %12s %11s %11s %14s %14s")
RESET = table("%-40s  %-40s  %-40s")
ROLLBACK = table("%-20s  %-20s  %-20s  %-20s  %-20s  %-20s")
SEND_RT = table("%-32s  %-4s  %-20s    %s", ordered=True)


@dataclass(frozen=True)
class Step:
    """One command.

    `capture` takes words for later steps out of the parsed output before it is masked. `action` is done instead of a
    command: the connected clients come or go.
    """

    name: str
    command: str
    parse: Parser = parsing.lines
    until: Callable[[Value], bool] | None = None
    capture: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    process: bool = False
    action: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the script that has a golden file of its own."""

    name: str
    steps: tuple[Step, ...]


def _sent(rows: Any) -> str:
    return str(rows["rows"][0]["#MsgId"])


def _send(name: str, words: str, *, capture: str = "") -> Step:
    return Step(
        name,
        f"sendMessage -t {words}",
        SEND_RESULT,
        capture={capture: _sent} if capture else {},
    )


def _sum_of(title: str, wanted: int) -> Callable[[Value], bool]:
    def reached(value: Value) -> bool:
        return isinstance(value, dict) and sum(int(row[title]) for row in value.get("ordered rows", ())) >= wanted

    return reached


def _consumed(value: Value) -> bool:
    after = value.get("after", {}) if isinstance(value, dict) else {}
    caught_up = after.get("Consume Diff Total") == "0" and after.get("Consume Inflight Total") == "0"
    return caught_up and _sum_of("#Consumer Offset", CLIENTS_MESSAGES)(value)


def _settled(value: Value) -> bool:
    """A consumer's status in which both queues are assigned and nothing is on its way to the listener."""
    reports = value.get("reports", [value]) if isinstance(value, dict) else []
    details = [report.get("Consumer MQ Detail", [])[1:] for report in reports if isinstance(report, dict)]
    return bool(details) and all(
        len(queues) == 2 and all("cachedMsgCount=0," in queue for queue in queues) for queues in details
    )


def _has_rows(value: Value) -> bool:
    return isinstance(value, dict) and bool(value.get("rows"))


LOOK = Section(
    "cluster",
    (
        Step("clusterList", "clusterList", CLUSTER_LIST, until=_has_rows),
        Step("clusterList -m", "clusterList -m", CLUSTER_LIST_MORE),
        Step("clusterList -c", "clusterList -c {cluster}", CLUSTER_LIST),
        Step("clusterList -c unknown", "clusterList -c NoCluster", CLUSTER_LIST),
        Step("clusterList as a process", "clusterList -n {namesrv}", CLUSTER_LIST, process=True),
        Step("clusterList without a name server", "clusterList -n 127.0.0.1:1", CLUSTER_LIST),
        Step("topicList of a new cluster", "topicList", parsing.name_list),
        Step("topicList -c of a new cluster", "topicList -c", TOPIC_LIST_GROUPS),
        Step("brokerStatus", "brokerStatus -b {broker}", parsing.broker_status),
        Step("brokerStatus -c", "brokerStatus -c {cluster}", parsing.broker_status),
        Step("brokerStatus -c unknown", "brokerStatus -c NoCluster", parsing.broker_status),
        Step("brokerStatus of no broker", "brokerStatus -b 127.0.0.1:1", parsing.broker_status),
        Step("haStatus", "haStatus -b {broker}", parsing.key_values),
        Step("getNamesrvConfig", "getNamesrvConfig -n {namesrv}", parsing.sections),
        Step("getBrokerConfig", "getBrokerConfig -b {broker}", parsing.sections),
        Step("getBrokerConfig -c", "getBrokerConfig -c {cluster}", parsing.sections),
        Step("getBrokerConfig -c unknown", "getBrokerConfig -c NoCluster", parsing.sections),
        Step("an unknown command", "noSuchCommand"),
        Step("help", "help updateTopic"),
        Step("no arguments", "topicRoute"),
        Step("an unknown option", "topicRoute -t T --nonsense", process=True),
    ),
)

TOPICS = Section(
    "topics",
    (
        # The pull consumers of the tools make this topic by their heartbeat, if that gets out before the command ends.
        Step("updateTopic for the tools", "updateTopic -c {cluster} -t %RETRY%TOOLS_CONSUMER -r 1 -w 1", CREATE),
        Step("updateTopic creates", "updateTopic -c {cluster} -t AdminTopic -r 4 -w 4", CREATE),
        Step("topicRoute of the new topic", "topicRoute -t AdminTopic", parsing.json_text),
        Step("topicRoute -l", "topicRoute -l -t AdminTopic", TOPIC_ROUTE_LIST),
        Step("topicRoute as a process", "topicRoute -n {namesrv} -t AdminTopic", parsing.json_text, process=True),
        Step("topicStatus of the new topic", "topicStatus -t AdminTopic", TOPIC_STATUS),
        Step("topicStatus -c", "topicStatus -t AdminTopic -c AdminTopic", TOPIC_STATUS),
        Step("topicClusterList", "topicClusterList -t AdminTopic", parsing.name_list),
        Step("updateTopic -b", "updateTopic -b {broker} -t AdminTopicB -r 8 -w 8 -p 6", CREATE),
        Step("updateTopic of a type", "updateTopic -b {broker} -t AdminDelay -r 2 -w 2 -a +message.type=DELAY", CREATE),
        Step("updateTopic alters", "updateTopic -c {cluster} -t AdminTopic -r 6 -w 2", CREATE),
        Step("topicRoute of the altered topic", "topicRoute -t AdminTopic", parsing.json_text),
        Step("topicStatus of the altered topic", "topicStatus -t AdminTopic", TOPIC_STATUS),
        Step("updateTopic widens again", "updateTopic -c {cluster} -t AdminTopic -r 4 -w 4", CREATE),
        Step("updateTopic -o -b", "updateTopic -b {broker} -t AdminOrderB -r 3 -w 3 -o true", CREATE),
        Step("updateTopic -o -c", "updateTopic -c {cluster} -t AdminOrder -r 3 -w 3 -o true", CREATE),
        Step("topicRoute of an ordered topic", "topicRoute -t AdminOrder", parsing.json_text),
        Step("updateTopic with unit flags", "updateTopic -c {cluster} -t AdminUnit -u true -s true", CREATE),
        Step("topicRoute of a unit topic", "topicRoute -t AdminUnit", parsing.json_text),
        Step("updateTopic with a bad name", "updateTopic -c {cluster} -t bad@topic", CREATE),
        Step("updateTopic -b with a bad name", "updateTopic -b {broker} -t bad@topic", CREATE),
        Step("updateTopic with a long name", f"updateTopic -c {{cluster}} -t {LONG_NAME}", CREATE),
        Step("updateTopic of TBW102", "updateTopic -c {cluster} -t TBW102", CREATE),
        Step("updateTopic of a system topic", "updateTopic -b {broker} -t RMQ_SYS_TRANS_HALF_TOPIC", CREATE),
        Step("updateTopic with a bad attribute", "updateTopic -b {broker} -t AdminBad -a +nope=1", CREATE),
        Step("updateTopic with a bad type", "updateTopic -b {broker} -t AdminBad -a +message.type=SHINY", CREATE),
        Step("updateTopic deletes what is not there", "updateTopic -b {broker} -t AdminBad -a -message.type", CREATE),
        Step(
            "updateTopic of another type",
            "updateTopic -b {broker} -t AdminDelay -r 2 -w 2 -a +message.type=FIFO",
            CREATE,
        ),
        Step("updateTopic in no cluster", "updateTopic -c NoCluster -t AdminNowhere", CREATE),
        Step("updateTopic at no broker", "updateTopic -b 127.0.0.1:1 -t AdminNowhere", CREATE),
        Step("updateTopic without a topic", "updateTopic -c {cluster}", CREATE),
        Step("updateTopic with no queues", "updateTopic -c {cluster} -t AdminZero -r 0 -w 0", CREATE),
        Step("topicRoute of no queues", "topicRoute -t AdminZero", parsing.json_text),
        Step("topicRoute unknown", "topicRoute -t AdminUnknown", parsing.json_text),
        Step("topicStatus unknown", "topicStatus -t AdminUnknown", TOPIC_STATUS),
        Step("topicClusterList unknown", "topicClusterList -t AdminUnknown", parsing.name_list),
        Step("updateTopic of no permission", "updateTopic -c {cluster} -t AdminPerm -r 1 -w 1 -p 0", CREATE),
        Step("updateTopic of an inherited permission", "updateTopic -c {cluster} -t AdminPerm -r 1 -w 1 -p 1", CREATE),
        Step("updateTopic of three permissions", "updateTopic -c {cluster} -t AdminPerm -r 1 -w 1 -p 7", CREATE),
        Step("topicRoute of the last permission", "topicRoute -t AdminPerm", parsing.json_text),
        Step("updateTopic of a retry topic", "updateTopic -c {cluster} -t %RETRY%admin_by_hand -r 1 -w 1", CREATE),
        Step("topicStatus of a retry topic", "topicStatus -t %RETRY%admin_by_hand", TOPIC_STATUS),
        Step("updateTopicPerm -c", "updateTopicPerm -c {cluster} -t AdminTopicB -p 4"),
        Step("updateTopicPerm the same", "updateTopicPerm -b {broker} -t AdminTopicB -p 4"),
        Step("topicRoute of a read-only topic", "topicRoute -t AdminTopicB", parsing.json_text),
        Step("sendMessage without permission", "sendMessage -t AdminTopicB -p no -b {broker_name} -i 0", SEND_RESULT),
        Step("updateTopicPerm -b", "updateTopicPerm -b {broker} -t AdminTopicB -p 2"),
        Step("consumeMessage without permission", "consumeMessage -t AdminTopicB -b {broker_name} -i 0", parsing.messages),
        Step("updateTopicPerm of an impossible value", "updateTopicPerm -b {broker} -t AdminTopicB -p 9"),
        Step("updateTopicPerm of an unknown topic", "updateTopicPerm -b {broker} -t AdminUnknown -p 2"),
        Step("updateTopicPerm at another broker", "updateTopicPerm -b 127.0.0.1:1 -t AdminTopicB -p 6"),
        Step("updateOrderConf put", "updateOrderConf -t AdminTopic -m put -v {broker_name}:4"),
        Step("updateOrderConf get", "updateOrderConf -t AdminTopic -m get"),
        Step("updateOrderConf put nothing", "updateOrderConf -t AdminTopic -m put"),
        Step("updateOrderConf delete", "updateOrderConf -t AdminTopic -m delete"),
        Step("updateOrderConf get after delete", "updateOrderConf -t AdminTopic -m get"),
        Step("allocateMQ", "allocateMQ -t AdminTopic -i 10.0.0.1,10.0.0.2,10.0.0.3", parsing.json_text),
        Step("allocateMQ of an unknown topic", "allocateMQ -t AdminUnknown -i 10.0.0.1", parsing.json_text),
        Step("topicList", "topicList", parsing.name_list),
    ),
)

MESSAGES = Section(
    "messages",
    (
        _send("sendMessage", "AdminTopic -p first -k key-1 -c TagA -b {broker_name} -i 0", capture="first"),
        _send("sendMessage again", "AdminTopic -p second -k 'key-1 key-2' -c TagB -b {broker_name} -i 0", capture="second"),
        _send("sendMessage to another queue", "AdminTopic -p third -c TagA -b {broker_name} -i 3", capture="third"),
        Step(
            "sendMessage as a process",
            "sendMessage -n {namesrv} -t AdminTopic -p 'body with blanks' -b {broker_name} -i 1",
            SEND_RESULT,
            capture={"fourth": _sent},
            process=True,
        ),
        Step("sendMessage to a queue without a broker", "sendMessage -t AdminTopic -p x -i 0", SEND_RESULT),
        Step("sendMessage to an unknown queue", "sendMessage -t AdminTopic -p x -b {broker_name} -i 44", SEND_RESULT),
        Step("sendMessage to an unknown broker", "sendMessage -t AdminTopic -p x -b no-broker -i 0", SEND_RESULT),
        Step("sendMessage to no queue at all", "sendMessage -t AdminZero -p x", SEND_RESULT),
        Step(
            "sendMessage creates its topic",
            "sendMessage -t AdminAuto -p made-by-sending -b {broker_name} -i 2",
            SEND_RESULT,
        ),
        Step("topicRoute of the created topic", "topicRoute -t AdminAuto", parsing.json_text),
        Step("topicStatus", "topicStatus -t AdminTopic", TOPIC_STATUS, until=_sum_of("#Max Offset", 4)),
        Step(
            "queryMsgByOffset",
            "queryMsgByOffset -t AdminTopic -b {broker_name} -i 0 -o 0",
            parsing.one_message,
            capture={"first_offset": lambda found: str(found["messages"][0]["OffsetID"])},
        ),
        Step(
            "queryMsgByOffset -f",
            "queryMsgByOffset -t AdminTopic -b {broker_name} -i 0 -o 1 -f UTF-8",
            parsing.one_message,
        ),
        Step("queryMsgByOffset beyond", "queryMsgByOffset -t AdminTopic -b {broker_name} -i 0 -o 99", parsing.one_message),
        Step(
            "queryMsgByOffset unknown queue",
            "queryMsgByOffset -t AdminTopic -b {broker_name} -i 44 -o 0",
            parsing.one_message,
        ),
        Step(
            "queryMsgByOffset unknown topic",
            "queryMsgByOffset -t AdminUnknown -b {broker_name} -i 0 -o 0",
            parsing.one_message,
        ),
        Step("queryMsgById", "queryMsgById -t AdminTopic -i {first_offset}", parsing.one_message),
        Step("queryMsgById -f", "queryMsgById -t AdminTopic -i {first_offset} -f UTF-8", parsing.one_message),
        Step("queryMsgById by the unique id", "queryMsgById -t AdminTopic -i {second}", parsing.one_message),
        Step("queryMsgById inside a record", "queryMsgById -t AdminTopic -i {inside_first}", parsing.one_message),
        Step("queryMsgById beyond the log", "queryMsgById -t AdminTopic -i {beyond_log}", parsing.one_message),
        Step("queryMsgById of nonsense", "queryMsgById -t AdminTopic -i xyz", parsing.one_message),
        Step(
            "queryMsgByKey",
            "queryMsgByKey -t AdminTopic -k key-1",
            BY_KEY,
            until=lambda value: len(value["ordered rows"]) == 2,
        ),
        Step("queryMsgByKey second key", "queryMsgByKey -t AdminTopic -k key-2", BY_KEY),
        Step("queryMsgByKey -m", "queryMsgByKey -t AdminTopic -k key-1 -m 1", BY_KEY),
        Step("queryMsgByKey before all", "queryMsgByKey -t AdminTopic -k key-1 -b 0 -e 1000", BY_KEY),
        Step("queryMsgByKey -p", "queryMsgByKey -t AdminTopic -k key-2 -p K", BY_KEY),
        Step("queryMsgByKey by tag", "queryMsgByKey -t AdminTopic -k TagA -p T", BY_KEY),
        Step("queryMsgByKey by a tag nobody has", "queryMsgByKey -t AdminTopic -k TagZ -p T", BY_KEY),
        Step("queryMsgByKey of a wrong kind", "queryMsgByKey -t AdminTopic -k key-2 -p X", BY_KEY),
        Step("queryMsgByKey unknown key", "queryMsgByKey -t AdminTopic -k no-key", BY_KEY),
        Step("queryMsgByKey unknown topic", "queryMsgByKey -t AdminUnknown -k key-1", BY_KEY),
        Step("queryMsgByUniqueKey", "queryMsgByUniqueKey -t AdminTopic -i {first}", parsing.one_message),
        Step("queryMsgByUniqueKey -a", "queryMsgByUniqueKey -t AdminTopic -a -i {third}", parsing.one_message),
        Step("queryMsgByUniqueKey unknown", "queryMsgByUniqueKey -t AdminTopic -i {absent}", parsing.one_message),
        Step("printMsg", "printMsg -t AdminTopic", parsing.messages),
        Step("printMsg -s", "printMsg -t AdminTopic -s TagB", parsing.messages),
        Step("printMsg without bodies", "printMsg -t AdminTopic -d false", parsing.messages),
        Step("printMsg of an unknown topic", "printMsg -t AdminUnknown", parsing.messages),
        Step(
            "printMsgByQueue",
            "printMsgByQueue -t AdminTopic -a {broker_name} -i 0 -p true -d true -f true",
            parsing.messages,
        ),
        Step("consumeMessage", "consumeMessage -t AdminTopic", parsing.messages),
        Step("consumeMessage -b -i -o", "consumeMessage -t AdminTopic -b {broker_name} -i 0 -o 1", parsing.messages),
        Step("consumeMessage -c", "consumeMessage -t AdminTopic -c 1 -b {broker_name} -i 0", parsing.messages),
        Step("consumeMessage beyond", "consumeMessage -t AdminTopic -b {broker_name} -i 0 -o 55", parsing.messages),
        Step("consumeMessage since the beginning", "consumeMessage -t AdminTopic -s 1000", parsing.messages),
        Step("consumeMessage queue without broker", "consumeMessage -t AdminTopic -i 0", parsing.messages),
        Step("consumeMessage of an unknown topic", "consumeMessage -t AdminUnknown", parsing.messages),
        Step("queryCq", "queryCq -t AdminTopic -q 0 -i 0 -b {broker}", parsing.queue_units),
        Step("queryCq -c", "queryCq -t AdminTopic -q 0 -i 1 -c 1", parsing.queue_units),
        Step("queryCq beyond", "queryCq -t AdminTopic -q 0 -i 50", parsing.queue_units),
        Step("queryCq unknown", "queryCq -t AdminUnknown -q 0 -i 0 -b {broker}", parsing.queue_units),
        Step("sendMsgStatus", "sendMsgStatus -b {broker_name} -s 64 -c 3"),
        Step("sendMsgStatus of no broker", "sendMsgStatus -b no-broker -s 64 -c 1"),
        Step("checkMsgSendRT", "checkMsgSendRT -t AdminTopic -a 2 -s 64", SEND_RT),
        Step("updateTopic of one queue", "updateTopic -c {cluster} -t AdminSingle -r 1 -w 1", CREATE),
        _send("sendMessage to the one queue", "AdminSingle -p again -k key-9 -c TagC"),
        Step(
            "queryMsgByOffset of the one queue",
            "queryMsgByOffset -t AdminSingle -b {broker_name} -i 0 -o 0",
            parsing.one_message,
            capture={"single_offset": lambda found: str(found["messages"][0]["OffsetID"])},
        ),
        Step("queryMsgById resends", "queryMsgById -t AdminSingle -s true -i {single_offset}"),
        Step("topicStatus after the resend", "topicStatus -t AdminSingle", TOPIC_STATUS, until=_sum_of("#Max Offset", 2)),
    ),
)

GROUPS = Section(
    "groups",
    (
        Step("updateSubGroup creates", "updateSubGroup -c {cluster} -g admin_group"),
        Step(
            "updateSubGroup alters",
            "updateSubGroup -b {broker} -g admin_group -s true -m true -d true -o false -q 2 -r 5 -i 0 -w 1 -a false",
        ),
        Step(
            "updateSubGroup with a retry policy",
            """updateSubGroup -b {broker} -g admin_policy -p '{"type":"CUSTOMIZED","customizedRetryPolicy":"""
            """{"next":[1000,5000]}}'""",
        ),
        Step(
            "updateSubGroup with an exponential policy",
            """updateSubGroup -b {broker} -g admin_exponential -p '{"type":"EXPONENTIAL","exponentialRetryPolicy":"""
            """{"initial":5000,"max":7200000,"multiplier":2}}'""",
        ),
        Step("updateSubGroup with a bad name", "updateSubGroup -b {broker} -g bad@group"),
        Step("updateSubGroup with a long name", f"updateSubGroup -b {{broker}} -g {'g' * 256}"),
        Step("updateSubGroup with a bad attribute", "updateSubGroup -b {broker} -g admin_bad --attributes +x=y"),
        Step("updateSubGroup in no cluster", "updateSubGroup -c NoCluster -g admin_nowhere"),
        Step("updateSubGroup nowhere", "updateSubGroup -g admin_nowhere"),
        Step("getConsumerConfig", "getConsumerConfig -g admin_group", parsing.sections),
        Step("getConsumerConfig of a policy", "getConsumerConfig -g admin_policy", parsing.sections),
        Step("getConsumerConfig of an exponential policy", "getConsumerConfig -g admin_exponential", parsing.sections),
        Step("getConsumerConfig unknown", "getConsumerConfig -g unknown_group", parsing.sections),
        Step("consumerProgress of a group never seen", "consumerProgress -g admin_group", PROGRESS),
        Step("consumerConnection of a group never seen", "consumerConnection -g admin_group", parsing.connections),
        Step("consumerStatus of a group never seen", "consumerStatus -g admin_group", parsing.consumer_status),
        Step("producerConnection of no producer", "producerConnection -g no_producers -t AdminTopic"),
        Step("producerConnection of no topic", "producerConnection -g no_producers -t AdminUnknown"),
        Step("brokerConsumeStats of nothing", "brokerConsumeStats -b {broker}", BROKER_CONSUME),
        Step("resetOffsetByTime of a group never seen", "resetOffsetByTime -g admin_group -t AdminTopic -s now", ROLLBACK),
        Step("resetOffsetByTime of an unknown topic", "resetOffsetByTime -g admin_group -t AdminUnknown -s now", ROLLBACK),
        Step(
            "resetOffsetByTime of one queue",
            "resetOffsetByTime -g admin_group -t AdminTopic -s 0 -b {broker} -q 0 -o 1",
        ),
        Step(
            "resetOffsetByTime of one queue by time",
            "resetOffsetByTime -g admin_group -t AdminTopic -s -1 -b {broker} -q 3",
        ),
        Step(
            "resetOffsetByTime of an unknown queue",
            "resetOffsetByTime -g admin_group -t AdminTopic -s 0 -b {broker} -q 44 -o 1",
        ),
        Step("updateSubGroupList", "updateSubGroupList -b {broker} -f {group_list_file}"),
        Step("updateTopicList", "updateTopicList -b {broker} -f {topic_list_file}"),
        Step("topicRoute of a listed topic", "topicRoute -t AdminListed", parsing.json_text),
        Step("getConsumerConfig of a listed group", "getConsumerConfig -g admin_listed", parsing.sections),
        Step("consumerProgress of a group by hand", "consumerProgress -g admin_by_hand", PROGRESS),
        Step("exportMetadata", "exportMetadata -c {cluster} -f ./export-all", parsing.exported),
        Step("exportMetadata -t", "exportMetadata -c {cluster} -t true -f ./export-topics", parsing.exported),
        Step("exportMetadata -g", "exportMetadata -c {cluster} -g true -f ./export-groups", parsing.exported),
        Step("exportMetadata -b", "exportMetadata -b {broker} -t true -f ./export-broker", parsing.exported),
        Step("exportMetadata in no cluster", "exportMetadata -c NoCluster -f ./export-nothing", parsing.exported),
        Step("setConsumeMode", "setConsumeMode -b {broker} -t AdminTopic -g admin_group -m PULL -q 4"),
    ),
)

CLIENTS = Section(
    "clients",
    (
        Step("updateTopic for the clients", f"updateTopic -c {{cluster}} -t {CLIENTS_TOPIC} -r 2 -w 2", CREATE),
        Step("clients come", "", action="start"),
        Step(
            "consumerProgress -g",
            f"consumerProgress -g {CLIENTS_GROUP}",
            PROGRESS,
            until=_consumed,
        ),
        Step("consumerProgress -g -t", f"consumerProgress -g {CLIENTS_GROUP} -t {CLIENTS_TOPIC}", PROGRESS),
        Step("consumerProgress -s", f"consumerProgress -g {CLIENTS_GROUP} -s true", PROGRESS_CLIENTS),
        Step("consumerProgress", "consumerProgress", parsing.progress_of_groups),
        Step("consumerProgress of an unknown group", "consumerProgress -g unknown_group", PROGRESS),
        Step("consumerConnection", f"consumerConnection -g {CLIENTS_GROUP}", parsing.connections),
        Step("consumerConnection -b", f"consumerConnection -g {CLIENTS_GROUP} -b {{broker}}", parsing.connections),
        Step("consumerConnection unknown", "consumerConnection -g unknown_group -b {broker}", parsing.connections),
        Step("consumerConnection of a broadcast", f"consumerConnection -g {BROADCAST_GROUP}", parsing.connections),
        Step("consumerProgress of a broadcast", f"consumerProgress -g {BROADCAST_GROUP}", PROGRESS),
        Step(
            "consumerStatus of a broadcast",
            f"consumerStatus -g {BROADCAST_GROUP}",
            parsing.consumer_status,
            until=_settled,
        ),
        Step("resetOffsetByTime of a broadcast", f"resetOffsetByTime -g {BROADCAST_GROUP} -t {CLIENTS_TOPIC} -s now", RESET),
        Step("producerConnection", f"producerConnection -g {PRODUCER_GROUP} -t {CLIENTS_TOPIC}"),
        Step("producer", "producer -b {broker}", parsing.producers),
        Step("consumerStatus", f"consumerStatus -g {CLIENTS_GROUP}", parsing.consumer_status, until=_settled),
        Step(
            "consumerStatus -i -s",
            f"consumerStatus -g {CLIENTS_GROUP} -i 127.0.0.1@connected-consumer -s",
            parsing.consumer_status,
            until=_settled,
        ),
        Step("consumerStatus of no client", f"consumerStatus -g {CLIENTS_GROUP} -i nobody", parsing.consumer_status),
        Step("brokerConsumeStats", "brokerConsumeStats -b {broker}", BROKER_CONSUME),
        Step("brokerConsumeStats -l", "brokerConsumeStats -b {broker} -l 1", BROKER_CONSUME),
        Step("topicList with retry topics", "topicList", parsing.name_list),
        Step("topicList -c with groups", "topicList -c", TOPIC_LIST_GROUPS),
        Step("statsAll", "statsAll", STATS_ALL),
        Step("statsAll -t", f"statsAll -t {CLIENTS_TOPIC}", STATS_ALL),
        Step("getConsumerConfig of a group made by use", f"getConsumerConfig -g {CLIENTS_GROUP}", parsing.sections),
        Step(
            "queryMsgByOffset of a consumed message",
            f"queryMsgByOffset -t {CLIENTS_TOPIC} -b {{broker_name}} -i 0 -o 0",
            parsing.one_message,
            capture={"live_offset": lambda found: str(found["messages"][0]["OffsetID"])},
        ),
        Step(
            "queryMsgById lets a client consume",
            f"queryMsgById -t {CLIENTS_TOPIC} -i {{live_offset}} -g {CLIENTS_GROUP} -d 127.0.0.1@connected-consumer",
        ),
        Step(
            "queryMsgById lets nobody consume",
            f"queryMsgById -t {CLIENTS_TOPIC} -i {{live_offset}} -g {CLIENTS_GROUP} -d nobody",
        ),
        Step("resetOffsetByTime online", f"resetOffsetByTime -g {CLIENTS_GROUP} -t {CLIENTS_TOPIC} -s 0", RESET),
        Step("consumerProgress after the reset", f"consumerProgress -g {CLIENTS_GROUP}", PROGRESS, until=_consumed),
        Step("resetOffsetByTime to now", f"resetOffsetByTime -g {CLIENTS_GROUP} -t {CLIENTS_TOPIC} -s now", RESET),
        Step("skipAccumulatedMessage", f"skipAccumulatedMessage -g {CLIENTS_GROUP} -t {CLIENTS_TOPIC}", RESET),
        Step(
            "skipAccumulatedMessage of an unknown group",
            f"skipAccumulatedMessage -g unknown_group -t {CLIENTS_TOPIC}",
            ROLLBACK,
        ),
        Step(
            "cloneGroupOffset",
            f"cloneGroupOffset -s {CLIENTS_GROUP} -d admin_group -t {CLIENTS_TOPIC}",
        ),
        Step("consumerProgress before leaving", f"consumerProgress -g {CLIENTS_GROUP}", PROGRESS, until=_consumed),
        Step("clients go", "", action="stop"),
        Step(
            "consumerConnection of nobody",
            f"consumerConnection -g {CLIENTS_GROUP}",
            parsing.connections,
            until=lambda value: not isinstance(value, dict),
        ),
        Step("consumerProgress of nobody", f"consumerProgress -g {CLIENTS_GROUP}", PROGRESS),
        Step("consumerStatus of nobody", f"consumerStatus -g {CLIENTS_GROUP}", parsing.consumer_status),
        Step("producerConnection of nobody", f"producerConnection -g {PRODUCER_GROUP} -t {CLIENTS_TOPIC}"),
        Step("producer of nobody", "producer -b {broker}", parsing.producers),
        Step("resetOffsetByTime offline", f"resetOffsetByTime -g {CLIENTS_GROUP} -t {CLIENTS_TOPIC} -s 0", RESET),
        Step("consumerProgress after going back", f"consumerProgress -g {CLIENTS_GROUP}", PROGRESS),
        Step("brokerConsumeStats with a lag", "brokerConsumeStats -b {broker} -l 1", BROKER_CONSUME),
        Step("deleteSubGroup -b", "deleteSubGroup -b {broker} -g admin_policy"),
        Step("deleteSubGroup -c -r", f"deleteSubGroup -c {{cluster}} -g {CLIENTS_GROUP} -r true"),
        Step("deleteSubGroup unknown", "deleteSubGroup -b {broker} -g unknown_group"),
        Step("deleteSubGroup in no cluster", "deleteSubGroup -c NoCluster -g admin_group"),
        Step("getConsumerConfig after delete", f"getConsumerConfig -g {CLIENTS_GROUP}", parsing.sections),
        Step("consumerProgress after delete", f"consumerProgress -g {CLIENTS_GROUP}", PROGRESS),
    ),
)

TUNE = Section(
    "tune",
    (
        Step("updateBrokerConfig", "updateBrokerConfig -b {broker} -k maxMessageSize -v 131072"),
        Step("updateBrokerConfig -c", "updateBrokerConfig -c {cluster} -k fileReservedTime -v 71"),
        Step("getBrokerConfig after the change", "getBrokerConfig -b {broker}", parsing.sections),
        Step(
            "sendMessage of what is too large now",
            "sendMessage -t AdminTopic -p {large_body} -b {broker_name} -i 0",
            SEND_RESULT,
        ),
        Step("updateBrokerConfig back", "updateBrokerConfig -b {broker} -k maxMessageSize -v 4194304"),
        Step("updateBrokerConfig of the list itself", "updateBrokerConfig -b {broker} -k configBlackList -v x"),
        Step("updateBrokerConfig of an unknown key", "updateBrokerConfig -b {broker} -k noSuchKey -v 1"),
        Step("updateBrokerConfig of no number", "updateBrokerConfig -b {broker} -k maxMessageSize -v large"),
        Step("updateBrokerConfig of a key fixed at start", "updateBrokerConfig -b {broker} -k haListenPort -v 10912"),
        Step("updateBrokerConfig in no cluster", "updateBrokerConfig -c NoCluster -k maxMessageSize -v 131072"),
        Step("updateNamesrvConfig", "updateNamesrvConfig -n {namesrv} -k orderMessageEnable -v true"),
        Step("getNamesrvConfig after the change", "getNamesrvConfig -n {namesrv}", parsing.sections),
        Step("topicRoute with its order", "topicRoute -t AdminOrder", parsing.json_text),
        Step("updateNamesrvConfig of a forbidden key", "updateNamesrvConfig -n {namesrv} -k kvConfigPath -v elsewhere"),
        Step("updateKvConfig", "updateKvConfig -s ADMIN -k key -v value"),
        Step("deleteKvConfig", "deleteKvConfig -s ADMIN -k key"),
        Step("deleteKvConfig again", "deleteKvConfig -s ADMIN -k key"),
        Step("deleteKvConfig of no namespace", "deleteKvConfig -s NOTHING -k key"),
        Step("getColdDataFlowCtrInfo", "getColdDataFlowCtrInfo -b {broker}", parsing.titled_json),
        Step("getColdDataFlowCtrInfo -c", "getColdDataFlowCtrInfo -c {cluster}", parsing.titled_json),
        Step("updateColdDataFlowCtrGroupConfig", "updateColdDataFlowCtrGroupConfig -b {broker} -g AdminCold -v 1048576"),
        Step("updateColdDataFlowCtrGroupConfig -c", "updateColdDataFlowCtrGroupConfig -c {cluster} -g AdminColder -v 7"),
        Step("updateColdDataFlowCtrGroupConfig of no number", "updateColdDataFlowCtrGroupConfig -b {broker} -g AdminBad -v x"),
        Step("getColdDataFlowCtrInfo of two groups", "getColdDataFlowCtrInfo -b {broker}", parsing.titled_json),
        Step("removeColdDataFlowCtrGroupConfig", "removeColdDataFlowCtrGroupConfig -b {broker} -g AdminCold"),
        Step("removeColdDataFlowCtrGroupConfig -c", "removeColdDataFlowCtrGroupConfig -c {cluster} -g AdminColder"),
        Step("removeColdDataFlowCtrGroupConfig of nobody", "removeColdDataFlowCtrGroupConfig -b {broker} -g AdminNobody"),
        Step("getColdDataFlowCtrInfo of none", "getColdDataFlowCtrInfo -b {broker}", parsing.titled_json),
        Step("setCommitLogReadAheadMode random", "setCommitLogReadAheadMode -b {broker} -m 1"),
        Step("setCommitLogReadAheadMode -c", "setCommitLogReadAheadMode -c {cluster} -m 0"),
        Step("setCommitLogReadAheadMode of no mode", "setCommitLogReadAheadMode -b {broker} -m 7"),
        Step("wipeWritePerm", "wipeWritePerm -b {broker_name}"),
        Step("topicRoute after wipeWritePerm", "topicRoute -t AdminTopic", parsing.json_text),
        Step("addWritePerm", "addWritePerm -b {broker_name}"),
        Step("topicRoute after addWritePerm", "topicRoute -t AdminTopic", parsing.json_text),
        Step("wipeWritePerm of no broker", "wipeWritePerm -b no-broker"),
        Step("addWritePerm of no broker", "addWritePerm -b no-broker"),
    ),
)

CLEAN = Section(
    "clean",
    (
        Step("cleanExpiredCQ -b", "cleanExpiredCQ -b {broker}"),
        Step("cleanExpiredCQ -c", "cleanExpiredCQ -c {cluster}"),
        Step("cleanExpiredCQ in no cluster", "cleanExpiredCQ -c NoCluster"),
        Step("deleteExpiredCommitLog", "deleteExpiredCommitLog -b {broker}"),
        Step("deleteTopic", "deleteTopic -c {cluster} -t AdminTopicB"),
        Step("topicRoute after deleteTopic", "topicRoute -t AdminTopicB", parsing.json_text),
        Step("deleteTopic unknown", "deleteTopic -c {cluster} -t AdminUnknown"),
        Step("deleteTopic of a system topic", "deleteTopic -c {cluster} -t TBW102"),
        Step("deleteTopic in no cluster", "deleteTopic -c NoCluster -t AdminUnit"),
        Step("deleteTopic without a cluster", "deleteTopic -t AdminUnit"),
        Step("deleteTopic with messages", "deleteTopic -c {cluster} -t AdminTopic"),
        Step("topicStatus after deleteTopic", "topicStatus -t AdminTopic", TOPIC_STATUS),
        Step("updateTopic makes it again", "updateTopic -c {cluster} -t AdminTopic -r 1 -w 1", CREATE),
        Step("topicStatus of the topic made again", "topicStatus -t AdminTopic", TOPIC_STATUS),
        Step("cleanUnusedTopic -b", "cleanUnusedTopic -b {broker}"),
        Step("cleanUnusedTopic -c", "cleanUnusedTopic -c {cluster}"),
        Step("brokerStatus in the end", "brokerStatus -b {broker}", parsing.broker_status),
        Step("topicList in the end", "topicList", parsing.name_list),
    ),
)

SCRIPT = (LOOK, TOPICS, MESSAGES, GROUPS, CLIENTS, TUNE, CLEAN)
