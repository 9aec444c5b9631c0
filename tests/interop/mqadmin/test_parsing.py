"""The reader of mqadmin's output, on lines the tool printed."""

from __future__ import annotations

import pytest

from . import parsing
from .compare import ABSENT, differences
from .masks import masked
from .parsing import RowFormat
from .script import CLUSTER_LIST, PROGRESS, TOPIC_LIST_GROUPS
from .sessions import Outcome
from .transcript import Entry, dump, load


def java_line(row_format: str, *cells: object) -> str:
    return row_format % cells


def printed(out: str) -> Outcome:
    return Outcome(0, out, "", 0.0)


def test_row_keeps_empty_cells_in_their_columns() -> None:
    line = java_line("%-64s  %-6s  %-24s %-5s  %-14s  %-7s  %s", "group", "0", "OFFLINE", "", "", "0", "12")
    cells = RowFormat("%-64s  %-6s  %-24s %-5s  %-14s  %-7s  %s").cells(line)
    assert cells == ["group", "0", "OFFLINE", "", "", "0", "12"]


def test_overlong_cell_moves_the_rest_of_its_row() -> None:
    name = "n" * 30
    assert RowFormat("%-20s  %-4s  %s").cells(f"{name}  7     end") == [name, "7", "end"]


def test_right_aligned_cells() -> None:
    assert RowFormat("%-4s %12d %11s").cells("T                5        0.02") == ["T", "5", "0.02"]


def test_cluster_list() -> None:
    titles = (
        "#Cluster Name           #Broker Name            #BID  #Addr                  #Version              #InTPS(LOAD)     "
        "              #OutTPS(LOAD)  #Timer(Progress)        #PCWait(ms)  #Hour         #SPACE    #ACTIVATED"
    )
    row = (
        "DefaultCluster          broker-a                0     127.0.0.1:10911        V5_5_0                 0.00(0,0ms)     "
        "          0.00(0,0ms|0,0ms)  0-0(0.0w, 0.0, 0.0)               0  498681.26     0.1400          true"
    )
    (found,) = CLUSTER_LIST(printed(f"{titles}\n{row}\n"))["rows"]
    assert found["#Addr"] == "127.0.0.1:10911"
    assert found["#OutTPS(LOAD)"] == "0.00(0,0ms|0,0ms)"
    assert found["#ACTIVATED"] == "true"


def test_header_and_rows_of_different_widths() -> None:
    out = java_line("%-20s  %-48s  %-48s\n", "#Cluster Name", "#Topic", "#Consumer Group")
    out += java_line("%-20s  %-64s  %-64s\n", "DefaultCluster", "T", "g")
    assert TOPIC_LIST_GROUPS(printed(out))["rows"] == [
        {"#Cluster Name": "DefaultCluster", "#Topic": "T", "#Consumer Group": "g"}
    ]


def test_table_with_totals_below() -> None:
    out = "#Topic  #Broker Name  #QID  #Broker Offset  #Consumer Offset  #Diff  #Inflight#LastTime\n"
    out += java_line("%-64s  %-32s  %-4d  %-20d  %-20d  %-20d %-20d %s\n", "T", "broker-a", 0, 8, 5, 3, 0, "N/A")
    out += "\nConsume TPS: 0.10\nConsume Diff Total: 3\nConsume Inflight Total: 0\n"
    found = PROGRESS(printed(out))
    assert found["ordered rows"][0]["#Diff"] == "3"
    assert found["ordered rows"][0]["#LastTime"] == "N/A"
    assert found["after"]["Consume Diff Total"] == "3"


def test_error_instead_of_a_table() -> None:
    assert CLUSTER_LIST(printed("[error] Make sure the specified clusterName exists.")) == [
        "[error] Make sure the specified clusterName exists."
    ]


def test_json_with_integer_keys() -> None:
    out = '{\n\t"brokerAddrs":{\n\t\t0:"127.0.0.1:10911",\n\t\t1:"127.0.0.1:10921"\n\t},\n\t"time":"1:2"\n}'
    assert parsing.json_text(printed(out)) == {
        "brokerAddrs": {"0": "127.0.0.1:10911", "1": "127.0.0.1:10921"},
        "time": "1:2",
    }


def test_stack_trace_becomes_a_chain() -> None:
    text = (
        "org.apache.rocketmq.tools.command.SubCommandException: TopicRouteSubCommand command failed\n"
        "\tat org.apache.rocketmq.tools.command.topic.TopicRouteSubCommand.execute(TopicRouteSubCommand.java:74)\n"
        "Caused by: org.apache.rocketmq.client.exception.MQClientException: CODE: 17  DESC: No topic route info: T\n"
        "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.\n"
        "\tat org.apache.rocketmq.client.impl.MQClientAPIImpl.getTopicRoute(MQClientAPIImpl.java:2115)\n"
        "\t... 8 more\n"
    )
    assert parsing.exceptions(text) == [
        {"type": "SubCommandException", "text": "TopicRouteSubCommand command failed"},
        {"type": "MQClientException", "code": 17, "text": "No topic route info: T"},
    ]


def test_printed_message() -> None:
    line = (
        "MSGID: FD00 MessageExt [brokerName=broker-a, queueId=0, storeSize=261, bornHost=/127.0.0.1:1, bodyCRC=1, "
        "preparedTransactionOffset=0, toString()=Message{topic='T', flag=0, properties={UNIQ_KEY=FD00, KEYS=a b, "
        "WAIT=true}, body=[98, 111], transactionId='null'}] BODY: bo"
    )
    (found,) = parsing.messages(printed(line))
    assert found["storeSize"] == "261"
    assert found["properties"] == {"UNIQ_KEY": "FD00", "KEYS": "a b", "WAIT": "true"}
    assert found["body"] == "bo"


def test_mask_hides_a_number_and_shows_a_word() -> None:
    value = {"out": {"after": {"Topic Put TPS": "0.25"}}}
    assert masked("a step", "topicStatus", value) == {"out": {"after": {"Topic Put TPS": "<n>"}}}
    value = {"out": {"after": {"Topic Put TPS": "null"}}}
    assert masked("a step", "topicStatus", value) == value


def test_rows_of_a_set_are_compared_without_order() -> None:
    one, two, three = ({"#Topic": name, "#Diff": diff} for name, diff in (("A", "1"), ("B", "2"), ("B", "3")))
    assert list(differences({"out": {"rows": [one, two]}}, {"out": {"rows": [two, one]}})) == []
    (found,) = differences({"out": {"rows": [one, two]}}, {"out": {"rows": [three, one]}})
    assert (found.path, found.official, found.ours) == ("out/rows/B/#Diff", "2", "3")
    (found,) = differences({"out": {"rows": [one, two]}}, {"out": {"rows": [one]}})
    assert (found.path, found.ours) == ("out/rows/B", ABSENT)


@pytest.mark.parametrize(
    "value", [{"status": 1, "out": [], "err": [{"type": "T", "code": 1}]}, {"status": 0, "out": "ü" * 300}]
)
def test_transcript_reads_back(value: dict[str, object]) -> None:
    entries = [Entry("topics", "a step", "topicRoute -t T", value), Entry("topics", "next", "topicList", value)]
    assert load("topics", dump(entries)) == entries


def test_an_object_under_the_name_of_its_broker() -> None:
    out = ' ============127.0.0.1:10911============\n{\n\t"b":{},\n\t"a":7\n}\n'
    assert parsing.titled_json(printed(out)) == {"title": "============127.0.0.1:10911============", "json": {"a": 7, "b": {}}}
    assert parsing.titled_json(printed("something else")) == parsing.lines(printed("something else"))
