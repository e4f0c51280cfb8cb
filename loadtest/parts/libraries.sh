# The scripts of limiter libraries: EVALSHA here compared with redis-server running the library's own text, with
# CL.THROTTLE, and with EVAL. Sourced by scripts/bench.

# name, SHA-1, and the words after it: the number of keys, keys, arguments. Windows are so long that none ends.
library_scripts() {
    local far=1000000
    cat <<END
rate-limiter-flexible a1de965f42e177aa339706bd580f049065eca79a 1,a:__rand_int__,1,$far,100,$far
limits-fixed 628bd136a573a06b346879695681af12ccef300f 1,b:__rand_int__,$far,1
python-redis-rate-limit d406c4243550d71abd3377b0046fcc528a2ce18f 1,c:__rand_int__,$far,1
ulule f74233f556d3f99c50b61169cf8aa8d5deb63fb2 1,d:__rand_int__,1,${far}000
cashews 0f8a745c1b5efe281bd1299ea0d1b2994c6ae601 1,e:__rand_int__,1,${far}000
rate-limit-redis 81dbecea94d2d10514719b20ed51faf711529d9d 1,f:__rand_int__,0,${far}000
fastapi-limiter a3f9e982197e9e887f6b5dcb7ec273863bb83aad 1,g:__rand_int__,$far,${far}000
asgi-ratelimit 283a893bdb53a688600eff30001e6fb4e4ebd4f5 1,h,@$work/scripts/rules.json
limits-sliding e8ac2a60cb040b0dbb56815a1e9c6fd032ce62e7 2,i:__rand_int__,j:__rand_int__,$far,$far,1
limits-sliding-look e7a0a27d4101baabb124af209bb0245197a359a1 2,i:__rand_int__,j:__rand_int__,$far
laravel-add a08c9c69b7c07ae2485190873b90d128a23e502d 1,k:__rand_int__,1,$far
django-redis-incr f4a7da3e5d8ea3b46642af08427151cae0190400 1,k:__rand_int__,1
throttled-py 6451cdc7599bd26c524ecfadb8e3daa985d63baf 1,l:__rand_int__,2.6,1000000,1
redis-rate f52a5b566060d79fd321d695df55bc918339c4aa 1,m:__rand_int__,1000000,1000000,2592000,1
END
}

report_libraries() {
    heading "Benchmark of library scripts"
    mkdir -p "$work/scripts"
    rm -f "$work"/scripts/*
    .build/venv/bin/python loadtest/parts/library_scripts.py "$work/scripts"
    printf '{"h": [1000000000, 1000000]}' >"$work/scripts/rules.json"
    start_escapement libraries --io-threads 1
    local here="$port:$pid" here_port="$port"
    start redis redis-server --port PORT --bind 127.0.0.1 --save '' --appendonly no
    local redis="$port:$pid" redis_port="$port"

    local throttle="throttle=$here:CL.THROTTLE,t:__rand_int__,1000000,1000000,2592000"
    local sha1 words name arguments=() missing=()
    echo "## Each script, here and in redis-server"
    echo
    while read -r name sha1 words; do
        if [[ ! -e $work/scripts/$sha1 ]]; then
            missing+=("$name")
            continue
        fi
        redis-cli -p "$redis_port" -x SCRIPT LOAD <"$work/scripts/$sha1" >/dev/null
        arguments+=(--peer "$name=$here:EVALSHA,$sha1,$words" --peer "redis-$name=$redis:EVALSHA,$sha1,$words")
        arguments+=(--target "16:$name<=redis-$name/8")
    done < <(library_scripts)
    ((${#arguments[@]})) || fail "no installed package has any of the scripts (scripts/setup test)"
    ((${#missing[@]})) && echo "No installed package has the texts of ${missing[*]}: only below." && echo
    "$loadtest" compare --seconds "$seconds" --repetitions "$repetitions" "${arguments[@]}"

    echo "## Scripts, CL.THROTTLE and INCR"
    echo
    arguments=(--base throttle --peer "$throttle" --peer "incr=$here:INCR,n:__rand_int__")
    while read -r name sha1 words; do arguments+=(--peer "$name=$here:EVALSHA,$sha1,$words"); done < <(library_scripts)
    for name in rate-limiter-flexible limits-fixed; do
        arguments+=(--target "1:$name<=1.6*throttle" --target "16:$name<=1.6*throttle" --target "64:$name<=1.6*throttle")
    done
    "$loadtest" compare --seconds "$seconds" --repetitions "$repetitions" "${arguments[@]}"

    echo "## EVAL with the text, and EVALSHA"
    echo
    arguments=()
    while read -r name sha1 words; do
        [[ $name == limits-fixed || $name == limits-sliding || $name == throttled-py ]] || continue
        [[ -e $work/scripts/$sha1 ]] || continue
        arguments+=(--peer "$name=$here:EVALSHA,$sha1,$words" --peer "eval-$name=$here:EVAL,@$work/scripts/$sha1,$words")
        arguments+=(--target "16:eval-$name<=1.25*$name")
    done < <(library_scripts)
    ((${#arguments[@]})) && "$loadtest" compare --seconds "$seconds" --repetitions "$repetitions" "${arguments[@]}"
    stop_all
}
