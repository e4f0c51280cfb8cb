# Cost of a replica for its primary, bytes of the stream, lag, full sync, failovers. Sourced by scripts/bench.

# start_replica NAME PORT-OF-PRIMARY FLAGS…: a replica whose link is up.
start_replica() {
    local name=$1 primary=$2
    shift 2
    rm -rf "$work/data-$name"
    mkdir -p "$work/data-$name"
    start "$name" "$escapement" --port PORT --dir "$PWD/$work/data-$name" --io-threads 1 \
        --replicaof 127.0.0.1 "$primary" "$@"
    linked "$port" 60
}
# linked PORT SECONDS: waits until that replica's link to its primary is up.
linked() {
    local deadline=$((SECONDS + $2))
    until [[ $(redis-cli -p "$1" INFO replication 2>/dev/null | tr -d '\r') == *master_link_status:up* ]]; do
        ((SECONDS < deadline)) || fail "the link of the replica on port $1 does not come up"
        sleep 0.02
    done
}

report_replica_cost() {
    local call=CL.THROTTLE,k:__rand_int__,1000000,1,3600 alone followed alone_nolog followed_nolog
    start_escapement alone --io-threads 1 --appendonly yes --auto-aof-rewrite-percentage 0
    alone="$port:$pid"
    start_escapement followed --io-threads 1 --appendonly yes --auto-aof-rewrite-percentage 0
    followed="$port:$pid"
    start_replica follower "${followed%:*}" --appendonly no
    start_escapement alone-nolog --io-threads 1
    alone_nolog="$port:$pid"
    start_escapement followed-nolog --io-threads 1
    followed_nolog="$port:$pid"
    start_replica follower-nolog "${followed_nolog%:*}" --appendonly no
    echo "## The primary with one replica against none, all writes"
    echo
    echo "With the log of the default settings (everysec), and without one."
    echo
    "$loadtest" compare --depths 1,64 --seconds "$seconds" --repetitions "$repetitions" --base alone \
        --peer "alone=$alone:$call" --peer "followed=$followed:$call" \
        --peer "alone-nolog=$alone_nolog:$call" --peer "followed-nolog=$followed_nolog:$call" \
        --target "1:followed<=1.25*alone" --target "64:followed<=1.25*alone" \
        --target "1:followed-nolog<=1.25*alone-nolog" --target "64:followed-nolog<=1.25*alone-nolog"
    stop_all
}

# stream_bytes KEYS PIPELINE: bytes of the stream per allowed call.
stream_bytes() {
    local before after calls
    before=$(info "$1" master_repl_offset)
    calls=$("$loadtest" load --port "$1" --keys "$2" --pipeline "$3" --seconds "$seconds" \
        CL.THROTTLE s:__rand_int__ 1000000000 1000000 1 | sed -n 's/ commands,.*//p')
    redis-cli -p "$1" WAIT 1 5000 >/dev/null
    after=$(info "$1" master_repl_offset)
    bc -l <<<"scale=2; ($after - $before) / $calls"
}

report_stream() {
    local primary replica rate
    start_escapement primary --appendonly yes
    primary=$port
    start_replica replica "$primary"
    replica=$port
    echo "## The stream"
    echo
    echo "- bytes for an allowed call, 50 connections: $(stream_bytes "$primary" 100000 1) over 100,000 keys unpipelined," \
        "$(stream_bytes "$primary" 100000 64) with pipelines of 64; $(stream_bytes "$primary" 1 1) on one hot key"
    rate=$("$loadtest" load --port "$primary" --seconds "$seconds" CL.THROTTLE k:__rand_int__ 1000000 1 3600 |
        sed -n 's/.* s, \([0-9]*\) a second/\1/p')
    echo "- lag of an idle pair: $("$loadtest" lag --port "$primary" --replica-port "$replica")"
    "$loadtest" load --port "$primary" --rate "$((rate / 2))" --seconds 3600 CL.THROTTLE k:__rand_int__ 1000000 1 3600 \
        >"$work/load.log" 2>&1 &
    pids+=("$!")
    sleep 1
    echo "- lag at half load ($((rate / 2)) calls a second, unpipelined): $("$loadtest" lag --port "$primary" --replica-port "$replica")"
    echo
    stop_all
}

# Full sync of many keys, from an idle primary and from one at half load.
report_full_sync() {
    local primary primary_pid replica began took rate before
    start_escapement primary --appendonly yes --auto-aof-rewrite-percentage 0
    primary=$port primary_pid=$pid
    "$loadtest" memory --port "$primary" --pid "$pid" --keys "$keys" CL.THROTTLE key:__seq_int__ 1000000 1 3600 >"$work/fill.log"
    echo "## Full sync of $keys keys of 16 bytes"
    echo
    rm -rf "$work/data-replica" && mkdir -p "$work/data-replica"
    start replica "$escapement" --port PORT --dir "$PWD/$work/data-replica" --io-threads 1
    replica=$port
    loaded "$replica"
    rate=$("$loadtest" load --port "$primary" --keys "$keys" --seconds "$seconds" CL.THROTTLE key:__rand_int__ 1000000 1 3600 |
        sed -n 's/.* s, \([0-9]*\) a second/\1/p')
    for load in none half; do
        if [[ $load == half ]]; then
            redis-cli -p "$replica" REPLICAOF NO ONE >/dev/null
            redis-cli -p "$replica" CL.THROTTLE own 1 1 1 >/dev/null
            "$loadtest" load --port "$primary" --keys "$keys" --rate "$((rate / 2))" --seconds "$((keys / 500000 + 5))" \
                CL.THROTTLE key:__rand_int__ 1000000 1 3600 >"$work/load.log" 2>&1 &
            sleep 1
        fi
        began=$(date +%s%N)
        redis-cli -p "$replica" REPLICAOF 127.0.0.1 "$primary" >/dev/null
        linked "$replica" 300
        took=$(($(date +%s%N) - began))
        before=$(redis-cli -p "$replica" DBSIZE)
        echo "- load: $load. $before keys in $((took / 1000000)) ms: $((before * 1000 / (took / 1000000))) keys a second;" \
            "resident memory of the primary then $(($(awk '{print $2}' "/proc/$primary_pid/statm") * 4 / 1024)) MiB"
        if [[ $load == half ]]; then
            wait "$!" || fail "the load ended: $(cat "$work/load.log")"
            echo "- what the primary's clients saw meanwhile ($((rate / 2)) a second asked): $(tr '\n' ' ' <"$work/load.log")"
            redis-cli -p "$primary" WAIT 1 30000 >/dev/null
            [[ $(info "$primary" master_repl_offset) == $(info "$replica" master_repl_offset) ]] ||
                fail "the replica's offset differs from its primary's"
        fi
    done
    echo
    stop_all
}

report_failovers() {
    local count=10
    [[ $quick ]] && count=2
    echo "## From kill -9 to the first accepted write, three nodes, three Sentinels, down-after 1000 ms"
    echo
    ESCAPEMENT_BINARY="$PWD/$escapement" PYTHONPATH=Tests/Integration PYTHONDONTWRITEBYTECODE=1 \
        .build/venv/bin/python loadtest/failover.py --count "$count" --directory "$PWD/$work/failover"
    echo
}

report_replication() {
    heading "Replication benchmark"
    report_replica_cost
    report_stream
    report_full_sync
    report_failovers
}
