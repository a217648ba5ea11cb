#!/bin/sh
# A server in the background: started, shown and ended. Its process id and its log lie in DATA_DIR/run.
# usage: [DATA_DIR=data] deploy/process.sh start PYTHON | stop | status | logs | kill PORT
set -eu
umask 077
cd "$(dirname "$0")/.."
here=$(pwd -P)
[ -n "${DATA_DIR:-}" ] || DATA_DIR=$(sed -n 's/^DATA_DIR=//p' .env 2>/dev/null | tail -n 1)
[ -n "$DATA_DIR" ] || DATA_DIR=data
export DATA_DIR
run=$DATA_DIR/run
log=$run/server.log

say() { echo "$*" >&2; }

# whether a process is a server that was started in this folder
ours() {
    ps -o args= -p "$1" 2>/dev/null | grep -q ' app\.py' || return 1
    if [ -d /proc/self ]; then
        [ "$(readlink "/proc/$1/cwd")" = "$here" ]
    else
        lsof -a -p "$1" -d cwd -Fn 2>/dev/null | grep -qx "n$here"
    fi
}

listens() {
    if [ -d /proc/self ]; then
        port=$(printf ':%04X' "$2")
        sockets=$(awk -v port="$port\$" '$4 == "0A" && $2 ~ port { print "socket:[" $10 "]" }' /proc/net/tcp*)
        [ -n "$sockets" ] && ls -l "/proc/$1/fd" 2>/dev/null | grep -qF "$sockets"
    else
        lsof -a -p "$1" -nP -iTCP:"$2" -sTCP:LISTEN >/dev/null 2>&1
    fi
}

# the process of the background; empty where there is none
running() {
    pid=$(cat "$run/server.pid" 2>/dev/null) && ours "$pid" && echo "$pid" || true
}

# whether a process has ended within so many seconds
ended() {
    left=$(($2 * 5))
    while kill -0 "$1" 2>/dev/null; do
        [ $left -gt 0 ] || return 1
        left=$((left - 1))
        sleep 0.2
    done
}

start() {
    pid=$(running)
    if [ -n "$pid" ]; then
        say "It runs already, as process $pid."
        return
    fi
    mkdir -p "$run"
    touch "$log"
    before=$(wc -c <"$log")
    nohup "$1" app.py serve >>"$log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$run/server.pid"
    until tail -c "+$((before + 1))" "$log" | grep 'listens on'; do
        if ended "$pid" 0; then
            rm -f "$run/server.pid"
            tail -c "+$((before + 1))" "$log" >&2
            exit 1
        fi
        sleep 0.2
    done
    say "It runs as process $pid; make logs, make status and make stop look after it."
}

stop() {
    pid=$(running)
    if [ -z "$pid" ]; then
        say "No server runs in the background."
    else
        kill "$pid"
        ended "$pid" 90 || { say "Process $pid has streams that go on; make kill PORT=... ends them."; exit 1; }
        say "Process $pid has ended."
    fi
    rm -f "$run/server.pid"
}

status() {
    pid=$(running)
    [ ! -f "$log" ] || tail -n 20 "$log"
    if [ -z "$pid" ]; then
        say "No server runs in the background."
        exit 1
    fi
    say "It runs as process $pid."
}

logs() {
    [ -f "$log" ] || { say "There is no log yet: $log"; exit 1; }
    exec tail -n 20 -f "$log"
}

end() {
    case ${1:-} in '' | *[!0-9]*) say "usage: make kill PORT=8080"; exit 2 ;; esac
    found=
    for pid in $(ps -eo pid=,args= | awk '/ app\.py/ { print $1 }'); do
        if ours "$pid" && listens "$pid" "$1"; then found="$found $pid"; fi
    done
    [ -n "$found" ] || { say "No server of this folder listens on port $1."; exit 1; }
    # the second word cuts the drain short
    for again in 1 2; do
        kill $found 2>/dev/null || true
        sleep 0.5
    done
    for pid in $found; do ended "$pid" 10 || kill -9 "$pid" || true; done
    say "Ended:$found"
}

case ${1:-} in
    start) start "$2" ;;
    stop | status | logs) "$1" ;;
    kill) end "${2:-}" ;;
    *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
esac
