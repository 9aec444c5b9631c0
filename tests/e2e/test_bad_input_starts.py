"""Starts that cannot be, and settings and texts that must not get through: refused in a sentence, nothing changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gantry.broker.config import BrokerConfig
from gantry.namesrv.config import NamesrvConfig
from gantry.protocol.remoting.codes import RequestCode
from tests.e2e.raw_peer import HEART_BEAT, PULL, SEND, Peer, pull_fields, send_fields
from tests.e2e.shell import wait_until
from tests.interop.cluster import GantryBroker, GantryNamesrv, ServerFailed

STATUS = "ended with 255 before it was ready"


def refusal(server: GantryBroker | GantryNamesrv) -> str:
    """What a server prints that does not start: its last line, on stderr."""
    with pytest.raises(ServerFailed) as caught:
        server.start()
    text = str(caught.value)
    assert STATUS in text
    assert "Traceback" not in text
    return text.splitlines()[-1]


# -- a second broker, a port in use -----------------------------------------------------------------------------------


def test_a_second_broker_on_a_store_is_refused_and_says_why(tmp_path: Path) -> None:
    with GantryBroker(tmp_path / "first", "") as first, Peer(first.address) as peer:
        assert peer.ask(SEND, send_fields("T"), b"x").code == 0
        (tmp_path / "link").symlink_to(first.store)
        for number, store in enumerate((first.store, tmp_path / "link")):
            second = GantryBroker(tmp_path / f"second-{number}", "", store=store)
            assert refusal(second) == f"{store}/lock is held by another process; a broker is already running on this store"
        assert peer.ask(SEND, send_fields("T"), b"x").code == 0, "the first goes on"
        assert first.stop() == 0
    with GantryBroker(tmp_path / "third", "", store=first.store) as third, Peer(third.address) as peer:
        assert peer.ask(PULL, pull_fields("T", offset=1)).fields["maxOffset"] == "2"


def test_a_port_in_use_is_named(tmp_path: Path, broker: GantryBroker) -> None:
    for name, port in (("main", broker.port), ("fast", broker.port + 2), ("main on fast", broker.port - 2)):
        other = GantryBroker(tmp_path / name, "", port=port)
        taken = broker.port - 2 if name == "main on fast" else broker.port
        assert refusal(other) == f"cannot listen on 127.0.0.1:{taken}: the address is in use"
    names = GantryNamesrv(tmp_path / "names", port=broker.port)
    assert refusal(names) == f"cannot listen on 127.0.0.1:{broker.port}: the address is in use"


def test_an_address_that_is_not_ours_is_named(tmp_path: Path) -> None:
    broker = GantryBroker(tmp_path / "b", "", settings={"bindAddress": "192.0.2.1"})
    assert refusal(broker) == f"cannot listen on 192.0.2.1:{broker.port}: Cannot assign requested address"


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("listenPort", "abc", "a whole number from 0 to 65535"),
        ("flushDiskType", "FSYNC", "one of ASYNC_FLUSH, SYNC_FLUSH"),
        ("deleteWhen", "25", "hours from 00 to 23, joined by semicolons"),
    ],
)
def test_a_bad_setting_is_told_with_key_value_and_what_is_allowed(tmp_path: Path, key: str, value: str, allowed: str) -> None:
    broker = GantryBroker(tmp_path, "", settings={key: value})
    assert refusal(broker) == f"{key}={value} is not allowed: {allowed} is expected"
    assert not broker.store.exists(), "refused before anything was made"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"messageDelayLevel": "1s foo"}, "messageDelayLevel has 'foo'; each level is a number with s, m, h or d"),
        ({"brokerIP1": "no.such.host.invalid"}, "brokerIP1=no.such.host.invalid is neither an address nor a name that"),
        ({"brokerRole": "SLAVE", "brokerId": 1}, "brokerRole=SLAVE is not offered by this version"),
        ({"aclEnable": "true"}, "aclEnable=true is not offered by this version; remove it to start the broker"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, settings: dict[str, object], said: str) -> None:
    assert said in refusal(GantryBroker(tmp_path, "", settings=settings))


def test_a_configuration_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"listenPort=10911\n" + bytes(range(256)) * 20)
    (tmp_path / "escape").write_text("a=1\nlistenPort=10911\nx=\\u12")
    expected = {
        "folder": "cannot be read: Is a directory",
        "missing": "cannot be read: No such file or directory",
        "binary": ", line 2: a zero byte; this is no file of settings",
        "escape": ", line 3: \\u12 is not followed by four hexadecimal digits",
    }
    for command in ("mqbroker", "mqnamesrv"):
        for name, said in expected.items():
            path = tmp_path / name
            ended = subprocess.run(
                [sys.executable, "-m", f"gantry.cli.{command}", "-c", str(path)],
                env={**os.environ, "HOME": str(tmp_path)},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert ended.returncode == 255
            gap = "" if said.startswith(",") else " "
            assert ended.stderr.strip() == f"configuration file {path}{gap}{said}"


# -- settings over the wire (CVE-2023-33246, CVE-2023-37582) ------------------------------------------------------------


FORBIDDEN = {
    "rocketmqHome": "-c $@|sh . echo touch {probe};",
    "filterServerNums": "1",
    "configStorePath": "{probe}",
    "kvConfigPath": "{probe}",
    "brokerConfigPath": "{probe}",
    "storePathRootDir": "{probe}",
    "storePathCommitLog": "{probe}",
    "storePathConsumeQueue": "{probe}",
    "storePathIndex": "{probe}",
    "configBlackList": "",
    "listenPort": "1",
    "bindAddress": "0.0.0.0",
    "brokerName": "other",
    "brokerIP1": "192.0.2.1",
    "namesrvAddr": "192.0.2.1:9876",
    "noSuchKey": "1",
    "": "1",
}


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, by a digest of its content, but what a broker at rest writes by itself: logs, and the
    store's log, queues and checkpoints."""
    busy = {"rocketmqlogs", "commitlog", "consumequeue", "index", "gantry", "checkpoint"}
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if not busy & set(path.relative_to(folder).parts) and path.is_file()
    }


@pytest.mark.parametrize("kind", ["broker", "namesrv"])
def test_no_request_reaches_a_path_a_command_or_the_list_itself(tmp_path: Path, kind: str) -> None:
    server: GantryBroker | GantryNamesrv
    if kind == "broker":
        server, code, good = GantryBroker(tmp_path / "s", ""), RequestCode.UPDATE_BROKER_CONFIG, "fileReservedTime=71"
    else:
        server, code, good = GantryNamesrv(tmp_path / "s"), RequestCode.UPDATE_NAMESRV_CONFIG, "orderMessageEnable=true"
    show = RequestCode.GET_BROKER_CONFIG if kind == "broker" else RequestCode.GET_NAMESRV_CONFIG
    probe = tmp_path / "probe"
    with server, Peer(server.address) as peer:
        shown, files = peer.ask(int(show)).body, tree(server.folder)
        for key, value in FORBIDDEN.items():
            for text in (f"{key}={value}", f"{good}\n{key}={value}", f"{key}={value}\n{good}"):
                answer = peer.ask(int(code), {}, text.format(probe=probe).encode())
                assert answer.code == 16, (text, answer)
                assert answer.remark.startswith("Can not update config in black list.")
                assert key in answer.remark
        # A second key inside a value: a line end in whichever spelling.
        name = good.partition("=")[0]
        for end in ("\\n", "\\r", "\\u000a", "\\u0000", "\\\n", "\\u2028"):
            answer = peer.ask(int(code), {}, f"{good}{end}storePathRootDir={probe}".encode())
            assert answer.code in (1, 29), (end, answer)
            assert name in answer.remark
        assert peer.ask(int(show)).body == shown, "nothing of it was changed, the good key beside it neither"
        assert tree(server.folder) == files, "and nothing on the disk"
        assert not probe.exists()

        assert peer.ask(int(code), {}, good.encode()).code == 0
        assert good.encode() in peer.ask(int(show)).body.replace(b'":"', b"=")


def test_the_allow_list_holds_no_path_no_address_and_no_name() -> None:
    for config in (BrokerConfig, NamesrvConfig):
        texts = {key.name for key in config.keys().values() if key.reloadable and key.kind is str and not key.choices}
        assert texts <= {"deleteWhen"}, "a text that may change at run time needs a pattern, and a reason"
        assert all(key.pattern for key in config.keys().values() if key.name in texts)


# -- logs -------------------------------------------------------------------------------------------------------------


FORGED = "\r\n2026-01-01 00:00:00 INFO main - forged\x1b[2J\x1b]0;owned\x07\x9b31m\u2028\u2029\x00"


def test_no_text_of_a_peer_forges_a_line_or_drives_a_terminal(tmp_path: Path) -> None:
    with GantryNamesrv(tmp_path / "n") as names, GantryBroker(tmp_path / "b", names.address) as broker:
        with Peer(broker.address) as peer:
            peer.ask(SEND, send_fields(FORGED), b"x")
            peer.ask(SEND, send_fields("T", producerGroup=FORGED, properties=f"KEYS\x01{FORGED}\x02"), b"x")
            peer.ask(PULL, pull_fields("T", consumerGroup=FORGED))
            peer.ask(PULL, pull_fields("T", subscription=FORGED + "||"))
            peer.ask(PULL, pull_fields(FORGED))
            name = FORGED.encode("unicode_escape").replace(b"\\x", b"\\u00")
            subscription = b'{"topic":"%s","subString":"%s"}' % (name, name)
            group = b'{"groupName":"g","subscriptionDataSet":[%s]}' % subscription
            assert peer.ask(HEART_BEAT, {}, b'{"clientID":"%s","consumerDataSet":[%s]}' % (name, group)).code == 0
            peer.ask(int(RequestCode.UPDATE_BROKER_CONFIG), {}, b"k\\n" + name + b"=v")
            peer.ask(
                int(RequestCode.GET_CONSUMER_RUNNING_INFO), {"consumerGroup": FORGED, "clientId": FORGED, "jstackEnable": "1"}
            )
            peer.ask(int(RequestCode.DELETE_TOPIC_IN_BROKER), {"topic": FORGED})
            peer.ask(-7, {"a": FORGED}, b"")
            peer.ask(int(RequestCode.UPDATE_AND_CREATE_TOPIC), {"topic": FORGED, "defaultTopic": FORGED})
            peer.ask(int(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP), {}, b'{"groupName":"%s"}' % name)
        with Peer(names.address) as peer:
            peer.ask(int(RequestCode.GET_ROUTEINFO_BY_TOPIC), {"topic": FORGED})
            peer.ask(int(RequestCode.PUT_KV_CONFIG), {"namespace": FORGED, "key": FORGED, "value": FORGED})
            peer.ask(int(RequestCode.UPDATE_NAMESRV_CONFIG), {}, b"k\\n" + name + b"=v")
            fields = {
                "brokerName": FORGED,
                "brokerAddr": FORGED,
                "clusterName": FORGED,
                "haServerAddr": FORGED,
                "brokerId": "0",
            }
            body = b'{"topicConfigSerializeWrapper":{"topicConfigTable":{"%s":{"topicName":"%s"},"b":{}}}}' % (name, name)
            assert peer.ask(int(RequestCode.REGISTER_BROKER), fields, body).code == 0
            peer.ask(int(RequestCode.WIPE_WRITE_PERM_OF_BROKER), {"brokerName": FORGED})
            peer.ask(int(RequestCode.UNREGISTER_BROKER), fields)
            peer.write(b"\x00\x00\x00\x10\x07" + FORGED.encode())
        for server, file in ((broker, "broker.log"), (names, "namesrv.log")):
            path = server.folder / "logs" / "rocketmqlogs" / file
            wait_until(lambda path=path: "forged" in path.read_text(), lambda: "the attack is in no log: nothing was tested")  # type: ignore[misc]
            for text in (path.read_bytes().decode(), server.tail(400)):
                assert not any(line.startswith("2026-01-01") for line in text.splitlines())
                bad = {char for char in text if (ord(char) < 32 and char not in "\n\t") or 127 <= ord(char) < 160}
                assert not bad, f"{bad!r} in {path}"
                assert "\u2028" not in text
