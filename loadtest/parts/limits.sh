# Every kind of limit compared with CL.THROTTLE: server CPU per command, and memory per key. Sourced by scripts/bench.

# The interval of a unit is 2.6 s, so that keys in use do not expire. With shorter periods every call would find its key
# expired, and would measure the cost of creating keys, not of limits.

# A policy and 10,000 rules, a third each for a client's action, a client, a tenant's action.
write_rules() {
    local number
    echo "policy standard LIMIT 1000000 PER 30d"
    echo "rule * * * POLICY standard"
    for ((number = 0; number < 10000; number++)); do
        case $((number % 3)) in
            0) printf 'rule tenant-%012d client login POLICY standard\n' "$number" ;;
            1) printf 'rule tenant-%012d client * POLICY standard\n' "$number" ;;
            2) printf 'rule tenant-%012d * login POLICY standard\n' "$number" ;;
        esac
    done
}

report_limits() {
    heading "Benchmark of limits"
    local at limit=LIMIT,1000000,PER,30d depths=64 count algorithm found
    write_rules >"$work/rules.conf"
    start_escapement limits --io-threads 1 --rules-file "$PWD/$work/rules.conf"
    at="$port:$pid"
    [[ $(info "$port" limiter_rules) == 10001 ]] || fail "the rules were not loaded"
    for count in 100000 10000; do
        echo "## $count keys, one loop, all allowed"
        echo
        ((count == 10000)) && echo "Here every call of RL.CHECK finds a rule of its own; above nine in ten fall to the default." && echo
        "$loadtest" compare --depths "$depths" --seconds "$seconds" --repetitions "$repetitions" --keys "$count" \
            --base throttle \
            --peer "throttle=$at:CL.THROTTLE,t:__rand_int__,1000000,1000000,2592000" \
            --peer "take=$at:RL.TAKE,t:__rand_int__,$limit" \
            --peer "take-policy=$at:RL.TAKE,t:__rand_int__,POLICY,standard" \
            --peer "check=$at:RL.CHECK,tenant-__rand_int__,client,login" \
            --peer "takeall-3=$at:RL.TAKEALL,t:__rand_int__,$limit,AND,a:__rand_int__,$limit,AND,b:__rand_int__,$limit" \
            --peer "peek=$at:RL.PEEK,t:__rand_int__,$limit" \
            --peer "token-bucket=$at:RL.TAKE,tb:__rand_int__,$limit,ALGO,token-bucket" \
            --peer "fixed-window=$at:RL.TAKE,fw:__rand_int__,$limit,ALGO,fixed-window" \
            --peer "sliding-window=$at:RL.TAKE,sw:__rand_int__,$limit,ALGO,sliding-window" \
            --peer "sliding-log=$at:RL.TAKE,sl:__rand_int__,LIMIT,100,PER,1s,ALGO,sliding-log" \
            --peer "incr=$at:INCR,i:__rand_int__" \
            --target "64:take<=1.3*throttle" --target "64:take-policy<=1.3*throttle" \
            --target "64:check<=1.6*throttle" --target "64:takeall-3<=2.5*throttle"
    done
    stop_all

    echo "## Memory of a key of 16 bytes, one grant each"
    echo
    for algorithm in gcra token-bucket fixed-window sliding-window sliding-log; do
        start_escapement "memory-$algorithm"
        found=$("$loadtest" memory --port "$port" --pid "$pid" --keys "$keys" \
            RL.TAKE key:__seq_int__ LIMIT 100 PER 1h ALGO "$algorithm")
        echo "- $algorithm: $found"
        stop_all
    done
    start_escapement memory-log
    found=$("$loadtest" memory --port "$port" --pid "$pid" --keys "$((keys / 10))" \
        RL.TAKE key:__seq_int__ LIMIT 100 PER 1h ALGO sliding-log)
    for ((count = 1; count < 10; count++)); do
        found=$("$loadtest" load --port "$port" --pid "$pid" --pipeline 64 --requests "$((keys / 10))" \
            RL.TAKE key:__seq_int__ LIMIT 100 PER 1h ALGO sliding-log | tail -n 1)
    done
    echo "- sliding-log with ten grants each, $((keys / 10)) keys: $(($(awk '{print $2 * 4096}' "/proc/$pid/statm") / (keys / 10))) bytes of resident memory each, the server itself included"
    stop_all
    start_escapement memory-token
    found=$("$loadtest" memory --port "$port" --pid "$pid" --keys "$((keys / 20))" \
        RL.TAKE key:__seq_int__ LIMIT 100 PER 1h ID token-12345)
    echo "- gcra with an answered token of 11 bytes each: $found"
    stop_all
    echo
}
