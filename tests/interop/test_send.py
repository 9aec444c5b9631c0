"""Official producers: every way to send, and what the answers carry."""

from __future__ import annotations

import pytest

from . import accounting
from .bench import Bench
from .driver import CLIENTS, eventually


def test_every_way_to_send_is_acknowledged_and_read_back(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    plain = [{"body": f"sync-{n}-äß漢", "tags": f"T{n % 3}", "keys": f"k{n} all", "property": f"v {n}"} for n in range(24)]
    asynchronous = [{"body": f"async-{n}"} for n in range(24)]
    oneway = [{"body": f"oneway-{n}"} for n in range(24)]
    batch = [{"body": f"batch-{n}", "tags": "B", "keys": f"b{n}"} for n in range(16)]
    large = [{"body": "large-" + "compress me " * 4000}]

    acknowledged = sender.send(plain) + sender.send(asynchronous, mode="async") + sender.send(large)
    sender.send(oneway, mode="oneway")
    (batched,) = sender.send(batch, mode="batch")

    assert [each.get("error") for each in acknowledged if each.get("status") != "SEND_OK"] == []
    # The client makes the id: 32 digits where its own address is IPv4, 56 where it is IPv6.
    assert {len(each["msg_id"]) for each in acknowledged} <= {32, 56}
    assert {each["broker"] for each in acknowledged} == {bench.cluster.broker.name}
    assert len({each["msg_id"] for each in acknowledged}) == len(acknowledged)
    assert len({each["offset_msg_id"] for each in acknowledged}) == len(acknowledged)
    assert len({(each["queue"], each["offset"]) for each in acknowledged}) == len(acknowledged)
    assert {each["queue"] for each in acknowledged} == set(range(8))
    assert batched["status"] == "SEND_OK"
    ids = batched["offset_msg_id"].split(",")
    assert len(ids) == len(set(ids)) == len(batch)

    for each in (acknowledged[0], acknowledged[-1]):
        decoded = bench.ask(bench.drivers[0], "decode_id", id=each["offset_msg_id"])
        assert decoded["host"] == bench.cluster.broker.address
        assert decoded["physical_offset"] >= 0

    everything = [str(message["body"]) for message in plain + asynchronous + oneway + batch + large]
    name = bench.consumer(bench.drivers[1])
    eventually(
        lambda: len(bench.consumed(name)) >= len(everything),
        20,
        lambda: f"{len(bench.consumed(name))} of {len(everything)} consumed",
    )
    consumed = bench.consumed(name)
    accounting.check(
        accounting.missing(everything, consumed),
        accounting.unknown(everything, consumed),
        accounting.repeated(consumed),
    )
    by_body = {each.body: each for each in consumed}
    for message, result in zip(plain + asynchronous + large, acknowledged, strict=True):
        seen = by_body[str(message["body"])]
        assert (seen.queue, seen.offset, seen.msg_id) == (result["queue"], result["offset"], result["msg_id"])
        assert seen.offset_msg_id == result["offset_msg_id"]
        assert (seen.tags or None, seen.property or None) == (message.get("tags"), message.get("property"))
    in_batch = [by_body[str(message["body"])] for message in batch]
    assert {each.queue for each in in_batch} == {batched["queue"]}
    assert [each.offset for each in in_batch] == list(range(batched["offset"], batched["offset"] + len(batch)))
    assert [each.tags for each in in_batch] == ["B"] * len(batch)
    # Each member shows an id of its own; a Java client gave it and named it in the result.
    assert len({each.msg_id for each in in_batch}) == len(batch)
    if "," in batched["msg_id"]:
        assert [each.msg_id for each in in_batch] == batched["msg_id"].split(",")


def test_a_topic_nobody_created_comes_to_be_with_the_first_send(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    results = sender.send([{"body": f"first-{n}"} for n in range(16)])
    assert [each.get("error") for each in results if each.get("status") != "SEND_OK"] == []
    assert {each["queue"] for each in results} == set(range(4)), "the clients ask for 4 queues, the broker would give 8"
    reader = f"r-{bench.mark}"
    bench.ask(bench.drivers[0], "pull_start", name=reader, group=bench.group, topic=bench.topic)
    bench.stop_later(bench.drivers[0], "pull_stop", reader)
    found = bench.ask(bench.drivers[0], "queues", name=reader, topic=bench.topic)
    assert found["queues"] == list(range(4))


# The Go client takes the setting and never looks at it.
@pytest.mark.parametrize("crew", [kind for kind in CLIENTS if kind != "go"], indirect=True)
def test_the_vip_channel_carries_sends_and_consumption(bench: Bench) -> None:
    """Clients with the VIP channel on talk to the broker's port less two."""
    sender = bench.producer(bench.drivers[0], vip=True)
    sender.create_topic()
    results = sender.send([{"body": f"vip-{n}"} for n in range(16)])
    assert [each.get("error") for each in results if each.get("status") != "SEND_OK"] == []
    assert _connected_to(bench.cluster.broker.port - 2), "no client is connected to the VIP port"
    name = bench.consumer(bench.drivers[1], vip=True)
    eventually(lambda: len(bench.consumed(name)) >= 16, 20, lambda: f"{len(bench.consumed(name))} of 16 consumed")
    accounting.check(accounting.repeated(bench.consumed(name)))


def _connected_to(port: int) -> bool:
    """Whether any established connection of this machine goes to a loopback port, from the kernel's own tables."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as lines:
            next(lines)
            for line in lines:
                _, _, remote, state = line.split()[:4]
                if state == "01" and int(remote.rpartition(":")[2], 16) == port:
                    return True
    return False
