# The check API compared with a web server that only answers, and with CL.THROTTLE: server CPU a request. Sourced by
# scripts/bench.

# A single process that answers 204 without reading a file. Sets pid and port.
start_nginx() {
    local directory="$PWD/$work/nginx"
    mkdir -p "$directory"
    free_port
    cat >"$directory/nginx.conf" <<CONF
daemon off; master_process off; error_log stderr; pid $directory/pid;
events { worker_connections 1024; }
http {
    access_log off; keepalive_requests 1000000000; client_body_temp_path $directory; proxy_temp_path $directory;
    fastcgi_temp_path $directory; uwsgi_temp_path $directory; scgi_temp_path $directory;
    server { listen 127.0.0.1:$port; location / { return 204; } }
}
CONF
    "$1" -p "$directory" -c "$directory/nginx.conf" >"$work/nginx.log" 2>&1 &
    pid=$!
    pids+=("$pid")
    local deadline=$((SECONDS + 20))
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        ((SECONDS < deadline)) || fail "nginx does not listen ($work/nginx.log)"
        sleep 0.05
    done
}

report_http() {
    heading "Benchmark of the check API"
    local nginx http at
    nginx=$(command -v nginx || true)
    [[ -n $nginx || ! -x /usr/sbin/nginx ]] || nginx=/usr/sbin/nginx
    printf '%s\n' "policy standard LIMIT 1000000 PER 30d" "rule * * * POLICY standard" >"$work/rules.conf"
    free_port
    http=$port
    start_escapement http --io-threads 1 --http-port "$http" --rules-file "$PWD/$work/rules.conf"
    at=$pid
    local peers=(
        --peer "throttle=$port:$at:throttle" --peer "auth=$http:$at:auth" --peer "check=$http:$at:check"
        --target "auth<=1.35*throttle" --target "check<=1.35*throttle"
    )
    if [[ -n $nginx ]]; then
        start_nginx "$nginx"
        peers+=(--peer "nginx=$port:$pid:get" --target "auth<=1.15*nginx")
    else
        echo "nginx is not installed, so there is no comparison with it."
        echo
    fi
    python3 loadtest/http.py --requests "$((quick ? 10000 : 40000))" --repetitions "$repetitions" "${peers[@]}"
    stop_all
    echo
}
