# What the scripts share; sourced, never run. Programs go into .cache/, and servers are started and
# stopped here, by their process id.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
mkdir -p "$cache/logs"
export PATH="$PATH:$HOME/.cargo/bin:/usr/local/go/bin"

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

# need_program PROGRAM PACKAGE WHY: installs a Debian package when its program is absent.
need_program() {
  command -v "$1" >/dev/null && return 0
  say "installing $2 ($3)"
  local sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  # shellcheck disable=SC2086
  if ! { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "$2"; } \
    >"$cache/logs/apt.log" 2>&1; then
    tail -n 5 "$cache/logs/apt.log" >&2
    return 1
  fi
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

# The server under test: $CORECAST_BIN, or the release build.
corecast_binary() {
  binary=${CORECAST_BIN:-$root/target/release/corecast}
  [ -n "${CORECAST_BIN:-}" ] && return 0
  (cd "$root" && cargo build --release --quiet)
}

# A port nobody listens on.
free_port() {
  for _ in $(seq 100); do
    port=$((22000 + RANDOM % 1000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 0
  done
  die 'no free port between 22000 and 22999'
}

server_pid=
server_log=

# start_server NAME COMMAND...: serves on $port, and is there when it answers /health.
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

# stop_corecast: the same, but anything other than an orderly end fails.
stop_corecast() {
  local code=0
  server_runs || die "the server died; see $server_log"
  stop_server || code=$?
  [ "$code" = 0 ] || die "the server ended with code $code; see $server_log"
}
