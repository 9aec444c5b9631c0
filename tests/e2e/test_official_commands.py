"""The lines of the official guides, typed as they stand there.

$ nohup sh mqnamesrv &
$ tail -f ~/logs/rocketmqlogs/namesrv.log
$ nohup sh bin/mqbroker -n localhost:9876 &
$ tail -f ~/logs/rocketmqlogs/broker.log
$ sh bin/mqshutdown broker
$ sh bin/mqshutdown namesrv
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.shell import ROOT, Shell, isolation_problem, wait_for_text, wait_until

NAMESRV_READY = "The Name Server boot success. serializeType=JSON, address 0.0.0.0:9876"
BROKER_READY = re.compile(r"The broker\[.+, .+:10911\] boot success\. serializeType=JSON and name server is localhost:9876")
LOG_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO main - ")


@pytest.fixture
def install(tmp_path: Path) -> Path:
    """A folder as the guides have it: bin/ and conf/ inside."""
    folder = tmp_path / "rocketmq"
    folder.mkdir()
    (folder / "bin").symlink_to(ROOT / "bin")
    (folder / "conf").symlink_to(ROOT / "src" / "gantry" / "conf")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.fixture
def own_machine(home: Path) -> Iterator[Shell]:
    """A shell in a network and a process table of its own: the default ports are free there, whoever uses them outside."""
    problem = isolation_problem()
    if problem is not None:
        pytest.skip(problem)
    with Shell(home, isolated=True) as shell:
        yield shell


def tail_f(home: Path, name: str, wanted: str) -> str:
    """`tail -f ~/logs/rocketmqlogs/NAME`, read until the line comes; returns it."""
    tail = subprocess.Popen(
        ["sh", "-c", f"exec tail -f ~/logs/rocketmqlogs/{name}"],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert tail.stdout is not None
        os.set_blocking(tail.stdout.fileno(), True)
        return next(line.rstrip("\n") for line in tail.stdout if wanted in line)
    finally:
        tail.terminate()
        tail.wait()


def free_port(*offsets: int) -> int:
    """A port that is free with its neighbours at `offsets`."""
    for _ in range(200):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        try:
            for offset in offsets:
                with socket.socket() as neighbour:
                    neighbour.bind(("127.0.0.1", port + offset))
        except OSError:
            continue
        return port
    raise AssertionError("no free ports")


def running(shell: Shell, name: str) -> bool:
    return name in shell.run("ps ax -o args=", status=None)


@pytest.mark.root
def test_the_lines_of_the_guide_on_the_default_ports(own_machine: Shell, install: Path, home: Path) -> None:
    shell, logs = own_machine, home / "logs" / "rocketmqlogs"
    shell.run(f"cd {install}/bin")
    shell.run("nohup sh mqnamesrv &")
    assert NAMESRV_READY in wait_for_text(logs / "namesrv.log", "boot success", shell)
    line = tail_f(home, "namesrv.log", "boot success")
    assert LOG_TIME.match(line)
    assert line.endswith(NAMESRV_READY)

    shell.run(f"cd {install}")
    shell.run("nohup sh bin/mqbroker -n localhost:9876 &")
    wait_for_text(logs / "broker.log", "boot success", shell)
    line = tail_f(home, "broker.log", "boot success")
    assert LOG_TIME.match(line)
    assert BROKER_READY.search(line)

    # The same lines on the terminal, which many scripts wait for.
    wait_until(
        lambda: NAMESRV_READY in shell.output and any(map(BROKER_READY.fullmatch, shell.output)),
        lambda: "\n".join(shell.output),
    )
    wait_until(
        lambda: "SEND_OK" in shell.gantry("send GuideTopic hello", status=None),
        lambda: "\n".join(shell.output[-20:]),
    )
    shown = shell.gantry("tail GuideTopic --from-start -c 1")
    assert "hello" in shown
    assert (home / "store" / "commitlog").is_dir()

    # nohup: the end of the terminal is no reason to stop.
    shell.run("kill -HUP $(pgrep -f gantry.cli.mqnamesrv) $(pgrep -f gantry.cli.mqbroker)")
    shell.gantry("send GuideTopic after-hangup")

    out = shell.run("sh bin/mqshutdown broker")
    assert re.search(r"^The mqbroker\(\d+\) is running\.\.\.$", out, re.MULTILINE)
    assert re.search(r"^Send shutdown request to mqbroker\(\d+\) OK$", out, re.MULTILINE)
    wait_until(lambda: not running(shell, "gantry.cli.mqbroker"), lambda: "the broker still runs")
    assert not (home / "store" / "abort").exists(), "stopped, not killed"
    out = shell.run("sh bin/mqshutdown namesrv")
    assert re.search(r"^Send shutdown request to mqnamesrv\(\d+\) OK$", out, re.MULTILINE)
    wait_until(lambda: not running(shell, "gantry.cli.mqnamesrv"), lambda: "the name server still runs")
    assert "No mqbroker running." in shell.run("sh bin/mqshutdown broker", status=1)
    assert "No mqnamesrv running." in shell.run("sh bin/mqshutdown namesrv", status=1)


@pytest.mark.root
def test_a_sample_of_the_guide_and_two_brokers(own_machine: Shell, install: Path, home: Path) -> None:
    shell, logs = own_machine, home / "logs" / "rocketmqlogs"
    shell.run(f"cd {install}/bin")
    shell.run("nohup sh mqnamesrv &")
    wait_for_text(logs / "namesrv.log", "boot success", shell)
    shell.run("nohup sh mqbroker -n localhost:9876 -c ../conf/2m-noslave/broker-a.properties &")
    wait_for_text(logs / "broker.log", "The broker[broker-a, 127.0.0.1:10911] boot success", shell)
    second = home / "second.properties"
    second.write_text(
        (install / "conf" / "2m-noslave" / "broker-b.properties").read_text()
        + f"listenPort=10921\nstorePathRootDir={home}/store-b\n"
    )
    shell.run(f"HOME={home}/b nohup sh mqbroker -n localhost:9876 -c {second} &")
    wait_for_text(home / "b" / "logs" / "rocketmqlogs" / "broker.log", "The broker[broker-b, 127.0.0.1:10921] boot", shell)
    wait_for_text(logs / "namesrv.log", "new broker registered", shell)
    wait_until(
        lambda: (logs / "namesrv.log").read_text().count("new broker registered") == 2,
        lambda: (logs / "namesrv.log").read_text()[-2000:],
    )
    out = shell.run("sh mqshutdown broker")
    assert len(re.findall(r"Send shutdown request to mqbroker\(\d+\) OK", out)) == 2
    wait_until(lambda: not running(shell, "gantry.cli.mqbroker"), lambda: "a broker still runs")
    wait_until(
        lambda: (logs / "namesrv.log").read_text().count("remove name from brokerAddrTable OK") == 2,
        lambda: (logs / "namesrv.log").read_text()[-2000:],
    )


@pytest.mark.parametrize("way", ["absolute", "relative", "name", "link", "executable"])
def test_the_commands_work_from_anywhere(home: Path, install: Path, way: str) -> None:
    port = free_port()
    (home / "n.properties").write_text(f"listenPort={port}\nbindAddress=127.0.0.1\n")
    os.symlink("../rocketmq/bin/mqnamesrv", home / "linked")
    lines = {
        "absolute": (home, f"sh {ROOT}/bin/mqnamesrv"),
        "relative": (home, "sh ../rocketmq/bin/mqnamesrv"),
        "name": (install / "bin", "sh mqnamesrv"),
        "link": (home, "./linked"),
        "executable": (home, f"PATH={ROOT}/bin:$PATH mqnamesrv"),
    }
    folder, line = lines[way]
    with Shell(home) as shell:
        shell.run(f"cd {folder}")
        shell.run(
            f"nohup {line} -c {home}/n.properties & pid=$!" if "PATH" not in line else f"{line} -c {home}/n.properties & pid=$!"
        )
        ready = f"The Name Server boot success. serializeType=JSON, address 127.0.0.1:{port}"
        wait_for_text(home / "logs" / "rocketmqlogs" / "namesrv.log", ready, shell)
        loaded = f"load config properties file OK, {home}/n.properties"
        wait_until(lambda: loaded in shell.output, lambda: "\n".join(shell.output))
        shell.run("kill $pid && wait $pid", status=0)


def test_name_server_and_broker_on_ports_of_a_config_file(home: Path, install: Path) -> None:
    names, broker = free_port(), free_port(-2, 1)
    (home / "n.properties").write_text(f"listenPort={names}\nbindAddress=127.0.0.1\n")
    (home / "b.conf").write_text(
        (install / "conf" / "broker.conf").read_text()
        + f"listenPort={broker}\nbindAddress=127.0.0.1\nbrokerIP1=127.0.0.1\nmappedFileSizeCommitLog=1048576\n"
    )
    logs = home / "logs" / "rocketmqlogs"
    with Shell(home) as shell:
        shell.run(f"cd {install}/bin")
        shell.run(f"nohup sh mqnamesrv -c {home}/n.properties & names=$!")
        wait_for_text(logs / "namesrv.log", "boot success", shell)
        shell.run(f"cd {install}")
        shell.run(f"nohup sh bin/mqbroker -n localhost:{names} -c {home}/b.conf & broker=$!")
        ready = (
            f"The broker[broker-a, 127.0.0.1:{broker}] boot success. serializeType=JSON and name server is localhost:{names}"
        )
        assert wait_for_text(logs / "broker.log", "boot success", shell).endswith(ready)
        wait_for_text(logs / "namesrv.log", "new broker registered", shell)
        shell.gantry(f"send -n 127.0.0.1:{names} T one")
        assert "one" in shell.gantry(f"tail -n 127.0.0.1:{names} T --from-start -c 1")
        shell.run("kill $broker && wait $broker")
        wait_for_text(logs / "namesrv.log", "remove name from brokerAddrTable OK, broker-a", shell)
        shell.run("kill $names && wait $names")


def test_a_port_in_use_is_named_and_ends_the_start(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (home / "n.properties").write_text(f"listenPort={port}\nbindAddress=127.0.0.1\n")
        with Shell(home) as shell:
            out = shell.run(f"sh {ROOT}/bin/mqnamesrv -c n.properties", status=255)
    assert f"cannot listen on 127.0.0.1:{port}: the address is in use" in out
    assert "boot success" not in out
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "configuration file n.properties cannot be read: No such file or directory"),
        ("listenPort=70000", "listenPort=70000 is not allowed: a whole number from 0 to 65535 is expected"),
        ("a=1\nb=\\u12", "configuration file n.properties, line 2: "),
        ("enableControllerInNamesrv=true", "enableControllerInNamesrv=true is not offered by this version"),
    ],
)
def test_a_wrong_configuration_is_explained(home: Path, content: str | None, said: str) -> None:
    if content is not None:
        (home / "n.properties").write_text(content)
    with Shell(home) as shell:
        out = shell.run(f"sh {ROOT}/bin/mqnamesrv -c n.properties", status=255)
    assert said in out
    assert "Traceback" not in out


def test_settings_are_printed_without_starting(home: Path) -> None:
    (home / "n.properties").write_text("listenPort=12345\norderMessageEnable=true\n")
    with Shell(home) as shell:
        out = shell.run(f"sh {ROOT}/bin/mqnamesrv -c n.properties -p").splitlines()
    assert {"listenPort=12345", "orderMessageEnable=true", f"kvConfigPath={home}/namesrv/kvConfig.json"} <= set(out)
    assert not (home / "logs").exists()


def test_without_a_python_the_wrapper_says_what_to_do(home: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname", "readlink"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}" if Path(f"/usr/bin/{tool}").exists() else f"/bin/{tool}")
    bare = tmp_path / "bare"
    (bare / "bin").mkdir(parents=True)
    for name in ("mqnamesrv", ".gantry.sh"):
        (bare / "bin" / name).write_text((ROOT / "bin" / name).read_text())
    ended = subprocess.run(
        [tools / "sh", bare / "bin" / "mqnamesrv"],
        env={"PATH": str(tools), "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "No Python with gantry found" in ended.stderr
    assert "GANTRY_PYTHON" in ended.stderr


def test_the_log_survives_a_home_that_cannot_be_written(home: Path) -> None:
    (home / "file").write_text("")
    port = free_port()
    (home / "n.properties").write_text(f"listenPort={port}\nbindAddress=127.0.0.1\n")
    with Shell(home) as shell:
        shell.run(f"HOME={home}/file sh {ROOT}/bin/mqnamesrv -c {home}/n.properties & pid=$!")
        wait_until(lambda: any("boot success" in line for line in shell.output), lambda: "\n".join(shell.output))
        wait_until(
            lambda: any("there will be no log file" in line for line in shell.output),
            lambda: "\n".join(shell.output),
        )
        shell.run("kill $pid && wait $pid")
