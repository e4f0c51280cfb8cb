# Starts the servers to measure, and stops only these. Sourced by scripts/bench, which sets work, escapement and loadtest.

pids=()
stop_all() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    pids=()
}
trap stop_all EXIT
trap 'exit 130' INT TERM

# A port that nothing listens on; the kernel's ephemeral ports start at 32768, so these stay free.
next_port=$((20000 + $$ % 5000))
free_port() {
    while (exec 3<>"/dev/tcp/127.0.0.1/$next_port") 2>/dev/null; do next_port=$((next_port + 1)); done
    port=$next_port
    next_port=$((next_port + 1))
}

# start NAME COMMAND…: PORT in the command is replaced by the port. Sets pid and port; returns once it accepts connections.
start() {
    local name=$1
    shift
    free_port
    "${@//PORT/$port}" >"$work/$name.log" 2>&1 &
    pid=$!
    pids+=("$pid")
    local deadline=$((SECONDS + 20))
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || { tail -n 5 "$work/$name.log" >&2; fail "$name ended at once ($work/$name.log)"; }
        ((SECONDS < deadline)) || fail "$name does not listen on port $port ($work/$name.log)"
        sleep 0.05
    done
}
start_escapement() {
    local name=$1
    shift
    rm -rf "$work/data-$name"
    mkdir -p "$work/data-$name"
    start "$name" "$escapement" --port PORT --dir "$PWD/$work/data-$name" --maxclients 20000 --appendonly no "$@"
    loaded "$port"
}
# Waits until a server has restored its state and answers.
loaded() {
    local deadline=$((SECONDS + 300))
    until [[ $(redis-cli -p "$1" PING 2>/dev/null) == PONG ]]; do
        ((SECONDS < deadline)) || fail "port $1 is still loading"
        sleep 0.05
    done
}

# The value of one INFO field.
info() { "$loadtest" call --port "$1" INFO everything | tr -d '\r' | sed -n "s/^$2://p"; }
