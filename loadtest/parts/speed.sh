# Cost of CL.THROTTLE compared with the floor, Redis and a Lua script; idle connections; memory. Sourced by scripts/bench.

report_speed() {
    heading Benchmark
    local key=k:__rand_int__,15,30,60
    start_escapement one --io-threads 1
    local one="$port:$pid"
    start_escapement default
    local default="$port:$pid" threads="$(ls "/proc/$pid/task" | wc -l)"
    start floor "$work/floor" PORT
    local floor="$port:$pid"
    start redis redis-server --port PORT --bind 127.0.0.1 --save '' --appendonly no --maxclients 20000
    local redis="$port:$pid" sha
    sha=$("$loadtest" call --port "$port" SCRIPT LOAD "$(cat loadtest/gcra.lua)")
    echo "escapement runs with its default settings ($threads threads), escapement-1 with \`--io-threads 1\`."
    echo
    "$loadtest" compare --seconds "$seconds" --repetitions "$repetitions" --base floor \
        --peer "escapement=$default:CL.THROTTLE,$key" --peer "escapement-1=$one:CL.THROTTLE,$key" \
        --peer "floor=$floor:CL.THROTTLE,$key" --peer "redis-incr=$redis:INCR,i:__rand_int__" \
        --peer "redis-lua=$redis:EVALSHA,$sha,1,$key" \
        --target "1:escapement-1<=1.10*floor" --target "16:escapement-1<=floor+0.20" \
        --target "64:escapement-1<=0.35*redis-incr" --target "64:escapement-1<=redis-lua/13" \
        --target "1:escapement<=1.10*floor" --target "16:escapement<=floor+0.20" \
        --target "64:escapement<=0.35*redis-incr" --target "64:escapement<=redis-lua/13"
    stop_all

    # Each result goes through a variable: a failure inside another command's arguments would go unnoticed.
    local found
    start_escapement idle
    found=$("$loadtest" idle --port "$port" --pid "$pid" --connections "$connections")
    echo "Idle (target 1024 bytes each): escapement, $found."
    stop_all
    start redis redis-server --port PORT --bind 127.0.0.1 --save '' --appendonly no --maxclients 20000
    found=$("$loadtest" idle --port "$port" --pid "$pid" --connections "$connections")
    echo "For comparison redis-server, $found."
    stop_all
    echo
    start_escapement memory
    found=$("$loadtest" memory --port "$port" --pid "$pid" --keys "$keys" CL.THROTTLE key:__seq_int__ 1000 1 3600)
    echo "Memory (target 56 bytes each, keys of 16 bytes): $found."
    echo
    # The same keys again, to measure the cache misses of the larger table. The burst of 1000 keeps calls from being denied.
    found=$("$loadtest" keyspace --port "$port" --pid "$pid" --many "$keys" --seconds "$seconds" \
        CL.THROTTLE key:__rand_int__ 1000 1 3600)
    echo "Few keys against many (target 1.5): $found."
    stop_all
}
