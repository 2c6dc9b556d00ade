# Sourced by the scripts that need a running server: builds it, starts it by pid, ends it by pid.
# Expects: set -euo pipefail, and the repository's root as the working directory.

target=${CARGO_TARGET_DIR:-target}
server_pid=""
work=$(mktemp -d)

build() {
    cargo build --release --quiet --locked --package corecast --package corecast-bench
    corecast=$target/release/corecast
    bench=$target/release/corecast-bench
}

# A port below the ephemeral range that nobody listens on.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((23000 + RANDOM % 1000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    echo "no free port found" >&2
    return 1
}

# start_server CONFIG [COMMAND...]: the command (taskset, say) comes before the server's own.
start_server() {
    local config=$1
    shift
    port=${PORT:-$(free_port)}
    url=ws://127.0.0.1:$port/connection/websocket
    CORECAST_LISTEN=127.0.0.1:$port "$@" "$corecast" serve --dev --config "$config" \
        >"$work/server.log" 2>&1 &
    server_pid=$!
    for _ in $(seq 100); do
        if curl --silent --fail --max-time 1 --output /dev/null "http://127.0.0.1:$port/health"; then
            return
        fi
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "the server does not answer /health:" >&2
    cat "$work/server.log" >&2
    return 1
}

# Ends the server as an operator would; fails if it does not end with 0 in time.
stop_server() {
    local pid=$server_pid status=0
    server_pid=""
    kill -TERM "$pid" 2>/dev/null || true
    timeout 15 tail --pid="$pid" -f /dev/null || kill -KILL "$pid"
    wait "$pid" || status=$?
    if [ "$status" -ne 0 ]; then
        echo "the server ended with $status:" >&2
        tail -20 "$work/server.log" >&2
        return 1
    fi
}

finish() {
    local status=$?
    if [ -n "$server_pid" ]; then
        kill -KILL "$server_pid" 2>/dev/null || true
    fi
    if [ "$status" -ne 0 ] && [ -s "$work/server.log" ]; then
        echo "the server's last words:" >&2
        tail -20 "$work/server.log" >&2
    fi
    rm -rf "$work"
}
trap finish EXIT
