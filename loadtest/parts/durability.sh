# Cost of the log, throughput under appendfsync always, recovery, latency during a snapshot. Sourced by scripts/bench.

# Cost of the log: the same server without one and with `everysec`.
report_log_cost() {
    local count=$1 off on pair
    start_escapement off --io-threads 1
    off="$port:$pid"
    # Without rewrites, which are measured separately.
    start_escapement on --io-threads 1 --appendonly yes --auto-aof-rewrite-percentage 0
    on="$port:$pid"
    if ((count > 100000)); then
        for pair in "$off" "$on"; do
            "$loadtest" memory --port "${pair%:*}" --pid "${pair#*:}" --keys "$count" \
                CL.THROTTLE key:__seq_int__ 1000000 1 3600 >"$work/fill.log"
        done
    fi
    echo "## everysec against no log, $count keys, all writes"
    echo
    "$loadtest" compare --depths 1,64 --seconds "$seconds" --repetitions "$repetitions" --base off --keys "$count" \
        --peer "off=$off:CL.THROTTLE,key:__rand_int__,1000000,1,3600" \
        --peer "everysec=$on:CL.THROTTLE,key:__rand_int__,1000000,1,3600" \
        --target "1:everysec<=1.10*off" --target "64:everysec<=1.10*off"
    stop_all
}

# Bytes of log per allowed call on one key.
report_hot_key() {
    start_escapement hot --io-threads 1 --appendonly yes
    local before after calls
    before=$(info "$port" journal_offset)
    calls=$("$loadtest" load --port "$port" --keys 1 --seconds "$seconds" CL.THROTTLE hot 1000000000 1000000 1 |
        sed -n 's/ commands,.*//p')
    sleep 0.2
    after=$(info "$port" journal_offset)
    echo "One hot key, unpipelined, 50 connections (target: less than 1 byte a call):" \
        "$((after - before)) bytes of log for $calls calls, $(bc -l <<<"scale=4; ($after - $before) / $calls") a call."
    echo
    stop_all
}

# Throughput under `appendfsync always`, in turn with redis-server on the same disk.
report_always() {
    local ours theirs run name rates
    start_escapement always --appendonly yes --appendfsync always
    ours=$port
    rm -rf "$work/redis-always" && mkdir -p "$work/redis-always"
    start redis redis-server --port PORT --bind 127.0.0.1 --save '' --appendonly yes --appendfsync always \
        --dir "$PWD/$work/redis-always"
    theirs=$port
    echo "## appendfsync always, 50 connections, unpipelined, commands a second"
    echo
    : >"$work/always.txt"
    for ((run = 0; run < repetitions; run++)); do
        "$loadtest" load --port "$ours" --seconds "$seconds" CL.THROTTLE k:__rand_int__ 1000000 1 3600 |
            sed -n 's/.* s, \([0-9]*\) a second/escapement \1/p' >>"$work/always.txt"
        "$loadtest" load --port "$theirs" --seconds "$seconds" INCR k:__rand_int__ |
            sed -n 's/.* s, \([0-9]*\) a second/redis-incr \1/p' >>"$work/always.txt"
    done
    for name in escapement redis-incr; do
        rates=$(sed -n "s/^$name //p" "$work/always.txt" | sort -n | tr '\n' ' ')
        echo "- $name: $rates(median $(sed -n "s/^$name //p" "$work/always.txt" | sort -n | sed -n "$(((repetitions + 1) / 2))p"))"
    done
    echo "- syncs of escapement: $(info "$ours" journal_syncs), the last one took $(info "$ours" journal_last_sync_usec) µs"
    echo
    stop_all
}

# Recovery from a snapshot, compared with redis-server loading as many strings from its own file.
report_recovery() {
    local data="$PWD/$work/data-recovery" usec took size
    start_escapement recovery --appendonly yes --auto-aof-rewrite-percentage 0
    "$loadtest" memory --port "$port" --pid "$pid" --keys "$keys" CL.THROTTLE key:__seq_int__ 1000000 1 3600 >"$work/fill.log"
    "$loadtest" call --port "$port" SAVE >"$work/fill.log"
    size=$(stat -c %s "$data"/appendonlydir/snapshot-*)
    stop_all
    start recovery "$escapement" --port PORT --dir "$data"
    loaded "$port"
    usec=$(info "$port" recovery_usec)
    echo "## Recovery of $keys keys of 16 bytes"
    echo
    echo "- escapement: $((usec / 1000)) ms on $(nproc) cores," \
        "$(bc <<<"scale=2; $keys / $usec / $(nproc)") million keys a second a core (target 2);" \
        "$(bc -l <<<"scale=1; $size / $keys") bytes of file a key (target 40)"
    stop_all
    rm -rf "$work/redis-recovery" && mkdir -p "$work/redis-recovery"
    start redis redis-server --port PORT --bind 127.0.0.1 --save '' --dir "$PWD/$work/redis-recovery"
    "$loadtest" memory --port "$port" --pid "$pid" --keys "$keys" SET key:__seq_int__ 12345678 >"$work/fill.log"
    redis-cli -p "$port" SAVE >"$work/fill.log"
    stop_all
    start redis redis-server --port PORT --bind 127.0.0.1 --save '' --dir "$PWD/$work/redis-recovery"
    loaded "$port"
    took=$(sed -n 's/.*DB loaded from disk: \([0-9.]*\) seconds.*/\1/p' "$work/redis.log" | tail -n 1)
    echo "- redis-server, as many strings of 8 bytes from its RDB: $took s," \
        "$(bc <<<"scale=2; $keys / $took / 1000000") million keys a second on its one core"
    echo
    stop_all
}

# Latency at half load, without and with back-to-back snapshots.
report_snapshot_latency() {
    local rate without with run
    start_escapement latency --appendonly yes --auto-aof-rewrite-percentage 0
    "$loadtest" memory --port "$port" --pid "$pid" --keys "$((keys / 5))" CL.THROTTLE key:__seq_int__ 1000000 1 3600 >"$work/fill.log"
    rate=$("$loadtest" load --port "$port" --keys "$((keys / 5))" --seconds "$seconds" CL.THROTTLE key:__rand_int__ 1000000 1 3600 |
        sed -n 's/.* s, \([0-9]*\) a second/\1/p')
    echo "## Unpipelined calls at half load ($((rate / 2)) a second), $((keys / 5)) keys"
    echo
    : >"$work/without.txt"
    : >"$work/with.txt"
    for ((run = 0; run < repetitions; run++)); do
        without=$("$loadtest" load --port "$port" --keys "$((keys / 5))" --seconds 3 --rate "$((rate / 2))" \
            CL.THROTTLE key:__rand_int__ 1000000 1 3600 | sed -n 's/^latency µs: //p')
        (
            trap 'exit 0' TERM
            while :; do redis-cli -p "$port" SAVE >/dev/null; done
        ) &
        local saver=$!
        with=$("$loadtest" load --port "$port" --keys "$((keys / 5))" --seconds 3 --rate "$((rate / 2))" \
            CL.THROTTLE key:__rand_int__ 1000000 1 3600 | sed -n 's/^latency µs: //p')
        kill "$saver"
        wait "$saver" || true
        echo "- without a snapshot: $without; while one is taken: $with"
        sed 's/.*p99.9 \([0-9.]*\),.*/\1/' <<<"$without" >>"$work/without.txt"
        sed 's/.*p99.9 \([0-9.]*\),.*/\1/' <<<"$with" >>"$work/with.txt"
    done
    without=$(sort -n "$work/without.txt" | sed -n "$(((repetitions + 1) / 2))p")
    with=$(sort -n "$work/with.txt" | sed -n "$(((repetitions + 1) / 2))p")
    echo "- medians of p99.9: $without and $with µs, $(bc -l <<<"scale=2; $with / $without") × (target 2);" \
        "snapshots taken meanwhile: $(info "$port" rdb_saves)"
    echo
    stop_all
}

report_durability() {
    heading "Durability benchmark"
    report_log_cost 100000
    report_log_cost "$keys"
    report_hot_key
    report_always
    report_recovery
    report_snapshot_latency
}
