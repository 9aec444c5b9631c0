"""mqshutdown: end the name servers or brokers of this machine, as the official script does.

It asks (SIGTERM) and returns; the processes then write down what they hold and end by themselves.
"""

from __future__ import annotations

import sys

from gantry.runtime import processes

COMMANDS = {"broker": "mqbroker", "namesrv": "mqnamesrv", "controller": "mqcontroller", "proxy": "mqproxy"}
USAGE = "Usage: mqshutdown broker | namesrv | controller | proxy"


def shutdown(what: str) -> int:
    """Returns: the exit status, 0 when every process found was asked to stop."""
    name = COMMANDS[what]
    found = processes.find_command(name)
    if not found:
        print(f"No {name} running.")
        return 1
    status = 0
    for pid in found:
        print(f"The {name}({pid}) is running...")
        try:
            processes.terminate(pid)
        except ProcessLookupError:
            print(f"The {name}({pid}) has ended by itself")
        except PermissionError:
            print(f"No permission to stop {name}({pid}): it belongs to another user", file=sys.stderr)
            status = 1
        else:
            print(f"Send shutdown request to {name}({pid}) OK")
    return status


def main() -> None:
    arguments = sys.argv[1:]
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(USAGE)
        sys.exit(0 if arguments in (["-h"], ["--help"]) else 1)
    sys.exit(shutdown(arguments[0]))


if __name__ == "__main__":
    main()
