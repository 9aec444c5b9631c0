"""What a request may do and what a reply may show: judged anew for each request, and no secret among it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gantry.protocol.remoting.codes import RequestCode
from tests.e2e.raw_peer import HEART_BEAT, PULL, SEND, Peer, pull_fields, send_fields
from tests.interop.cluster import GantryBroker, GantryNamesrv

Server = GantryBroker | GantryNamesrv

# -- rights -----------------------------------------------------------------------------------------------------------


def set_perm(peer: Peer, topic: str, perm: int) -> None:
    fields = {
        "topic": topic,
        "defaultTopic": "TBW102",
        "readQueueNums": 4,
        "writeQueueNums": 4,
        "perm": perm,
        "topicFilterType": "SINGLE_TAG",
        "topicSysFlag": 0,
        "order": True,  # an order topic is what the broker's own permission counts for
    }
    assert peer.ask(int(RequestCode.UPDATE_AND_CREATE_TOPIC), fields).code == 0


def test_a_request_that_was_allowed_allows_no_later_one_of_its_connection(broker: GantryBroker) -> None:
    """What goes the fast way is asked about topic, group and broker as often as what does not."""
    topic, group = "Judged", "judged"
    with Peer(broker.address) as peer, Peer(broker.address) as operator:

        def codes() -> tuple[int, int]:
            sent = peer.ask(SEND, send_fields(topic), b"x").code
            return sent, peer.ask(PULL, pull_fields(topic, consumerGroup=group, sysFlag=0, subscription="")).code

        beat = '{"clientID":"c","consumerDataSet":[{"groupName":"%s","subscriptionDataSet":[{"topic":"%s","subString":"*"}]}]}'
        assert peer.ask(HEART_BEAT, {}, (beat % (group, topic)).encode()).code == 0
        set_perm(operator, topic, 6)
        for _ in range(3):
            assert codes() == (0, 0)
        set_perm(operator, topic, 2)
        assert codes() == (0, 16), "it may be written only"
        set_perm(operator, topic, 6)
        settings = int(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP)
        assert operator.ask(settings, {}, b'{"groupName":"%s","consumeEnable":false}' % group.encode()).code == 0
        assert codes() == (0, 16), "the group may not consume"
        assert operator.ask(settings, {}, b'{"groupName":"%s","consumeEnable":true}' % group.encode()).code == 0
        assert codes() == (0, 0)
        change = int(RequestCode.UPDATE_BROKER_CONFIG)
        try:
            assert operator.ask(change, {}, b"brokerPermission=4\n").code == 0
            assert codes() == (16, 0), "the broker takes nothing"
        finally:
            assert operator.ask(change, {}, b"brokerPermission=6\n").code == 0
        assert peer.ask(change, {}, b"fileReservedTime=72\n").code == 0
        assert peer.ask(change, {}, b"storePathRootDir=/tmp\n").code == 16, "after one that is on the allow list"
        assert codes() == (0, 0)


# -- secrets ----------------------------------------------------------------------------------------------------------

SECRET = "hunter-2-of-the-test"
SECRETS = {
    "innerClientAuthenticationCredentials": f'{{"accessKey":"{SECRET}","secretKey":"{SECRET}"}}',
    "initAuthenticationUser": f'{{"username":"rocketmq","password":"{SECRET}"}}',
    "accessKey": SECRET,
    "secretKey": SECRET,
    "tls.server.keyPassword": SECRET,
    "someToken": SECRET,
}
"""Settings of the official servers that hold secrets, and such as plugins have. None has an effect here, but a file of
settings that was made for another broker has them."""
WRITABLE_BY_OTHERS = 0o022


def make(kind: str, folder: Path) -> Server:
    if kind == "broker":
        return GantryBroker(folder, "", settings=SECRETS)
    return GantryNamesrv(folder, settings=SECRETS)


@pytest.mark.parametrize("kind", ["broker", "namesrv"])
def test_no_secret_leaves_the_file_of_settings(kind: str, tmp_path: Path) -> None:
    """Not in a reply, a log, the arguments of the process or another file; and no file of a server is others' to write."""
    server = make(kind, tmp_path / "s")
    show = RequestCode.GET_BROKER_CONFIG if kind == "broker" else RequestCode.GET_NAMESRV_CONFIG
    change = RequestCode.UPDATE_BROKER_CONFIG if kind == "broker" else RequestCode.UPDATE_NAMESRV_CONFIG
    secret = SECRET.encode()
    with server, Peer(server.address) as peer:
        shown = peer.ask(int(show)).body
        assert b"accessKey" in shown, "it is said which settings there are"
        assert secret not in shown
        for name, value in SECRETS.items():
            answer = peer.ask(int(change), {}, f"{name}={value}".encode())
            assert answer.code != 0
            assert SECRET not in answer.remark
        assert secret not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert secret not in Path(f"/proc/{server.pid}/environ").read_bytes()
        assert server.stop() == 0
    assert SECRET not in server.tail(400)
    settings = server.folder / "server.properties"
    files = [path for path in server.folder.rglob("*") if path.is_file() and path != settings]
    assert any(path.suffix == ".log" for path in files)
    assert [path for path in files if secret in path.read_bytes()] == []
    assert [path for path in server.folder.rglob("*") if path.stat().st_mode & WRITABLE_BY_OTHERS] == []
    for option in ("-p", "-m") if kind == "broker" else ("-p",):
        printed = subprocess.run(
            [sys.executable, "-m", f"gantry.cli.{server.module}", "-c", str(settings), option],
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert printed.returncode == 0
        assert secret not in printed.stdout + printed.stderr
