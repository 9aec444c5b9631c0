# Sourced by the commands beside it: finds itself and a Python that has gantry, then becomes that command.
#
# POSIX sh only. The way to a command may be relative, a symbolic link, or just its name (`sh mqnamesrv`).
# Which Python: $GANTRY_PYTHON, else .venv beside this folder, else python3 when it can import gantry.

find_python() {
    if [ -n "${GANTRY_PYTHON:-}" ]; then
        echo "$GANTRY_PYTHON"
    elif [ -x "$gantry_home/.venv/bin/python" ]; then
        echo "$gantry_home/.venv/bin/python"
    elif command -v python3 >/dev/null 2>&1 && python3 -c 'import gantry.cli' >/dev/null 2>&1; then
        command -v python3
    fi
}

python=$(find_python)
if [ -z "$python" ]; then
    echo "No Python with gantry found. Do one of these:" >&2
    echo "  make -C $gantry_home run               (makes $gantry_home/.venv)" >&2
    echo "  python3 -m pip install $gantry_home" >&2
    echo "  export GANTRY_PYTHON=/path/to/python   (one that has gantry)" >&2
    exit 1
fi

# What the official scripts set for their children; kept when an operator has set it.
: "${ROCKETMQ_HOME:=$gantry_home}"
export ROCKETMQ_HOME
exec "$python" -m "gantry.cli.$gantry_command" "$@"
