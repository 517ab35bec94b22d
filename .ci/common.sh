# What .ci/run and .ci/long share: interpreters, servers, a copy of the checkout, and a summary. Sourced, never run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/safeklaviyo-ci.XXXXXX")
not_run=() redis_pid="" postgres_bin="" postgres_data=""
declare -A pythons=() # the interpreter of each version, such as [3.11]

finish() {
    if [[ -n $redis_pid ]]; then kill "$redis_pid" || true; fi
    if [[ -n $postgres_data ]]; then as_postgres "$postgres_bin/pg_ctl" -D "$postgres_data" -m immediate stop >/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT

# step NAME COMMAND...: run it, time it, and go on if it fails. The summary tells how long it took, and what it cost: on a
# machine that does other work, the one says nothing about the other.
step() {
    local name=$1 status=ok took=$work/took-$BASHPID TIMEFORMAT='%0R s, processor %0U + %0S s'
    shift
    printf '\n--- %s\n' "$name"
    # Not as a condition: bash does not stop at a failure within what it tests.
    set +e
    { time { (set -euo pipefail; "$@") </dev/null 2>&1; }; } 2>"$took"
    if [[ $? -ne 0 ]]; then status=FAILED; fi
    set -e
    printf '%-6s  %s  (%s)\n' "$status" "$name" "$(<"$took")" >>"$work/summary"
}

# conclude NAME...: print the summary with what pytest said at last in each of these runs, and end.
conclude() {
    printf '\n--- summary\n'
    cat "$work/summary"
    for each in "$@"; do closing "$each"; done
    if [[ -s $work/unsteady ]]; then sed 's/^/UNSTEADY (failed, then passed alone): /' "$work/unsteady"; fi
    if [[ ${#not_run[@]} -gt 0 ]]; then printf 'NOT RUN: %s\n' "${not_run[@]}"; fi
    if grep -q '^FAILED' "$work/summary"; then exit 1; fi
    exit 0
}

# add_python COMMAND: if it is an interpreter that will do, and the first of its version, keep it.
add_python() {
    local found version
    found=$("$1" -c 'import sys, ensurepip, venv; print("%d.%d" % sys.version_info[:2], sys.executable, sys.version_info >= (3, 11))' 2>/dev/null) || return 0
    if [[ $found != *" True" ]]; then return 0; fi
    version=${found%% *}
    found=${found#* }
    if [[ -z ${pythons[$version]:-} ]]; then pythons[$version]=${found% True}; fi
}

# Find every Python from 3.11 on, on the path and where pyenv keeps them; the README says python3, so make that one the
# interpreter chosen: $PYTHON, which is then the only one, or the python3 that is there, or the newest.
find_pythons() {
    local each chosen
    if [[ -n ${PYTHON:-} ]]; then
        add_python "$PYTHON"
        not_run+=("other Pythons: PYTHON names one")
    else
        add_python python3
        chosen=${!pythons[*]}
        for each in $(compgen -c python3. | grep -xE 'python3\.[0-9]+' | sort -u) "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3; do
            add_python "$each"
        done
    fi
    if [[ ${#pythons[@]} -eq 0 ]]; then
        echo "no Python 3.11 or newer with venv was found" >&2
        exit 1
    fi
    main_python=${chosen:-$(printf '%s\n' "${!pythons[@]}" | sort -V | tail -n 1)}
    mkdir "$work/bin"
    ln -s "${pythons[$main_python]}" "$work/bin/python3"
    export PATH="$work/bin:$PATH"
    printf 'Python %s: %s\n' "$main_python" "the README's commands and the static checks"
    printf 'Python %s: the installed wheel\n' $(printf '%s\n' "${!pythons[@]}" | sort -V)
}

# The programs that only some tests need, from Debian's archive if that is allowed here.
find_programs() {
    local tool missing=()
    for tool in pgbouncer openssl chromium; do
        if ! command -v "$tool" >/dev/null; then missing+=("$tool"); fi
    done
    if [[ ${#missing[@]} -gt 0 && $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        # A failure shows below, by what is still missing.
        (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}") \
            >"$work/apt.log" 2>&1 </dev/null || tail -n 3 "$work/apt.log"
    fi
    for tool in pgbouncer openssl chromium; do
        if ! command -v "$tool" >/dev/null; then not_run+=("the tests that need $tool: it is not installed"); fi
    done
    # Debian's own Node.js brings hundreds of packages: it is not installed for one shop.
    for tool in node npm; do
        if ! command -v "$tool" >/dev/null; then not_run+=("the shop on Node.js: $tool is not installed"); fi
    done
}

# copy_checkout FOLDER [PATTERN]: the checkout's files, without those that the pattern names.
copy_checkout() {
    mkdir "$1"
    git -C "$root" -c safe.directory="$root" ls-files -z --cached --others --exclude-standard |
        grep -zv "${2:-^$}" | tar -C "$root" --create --null --files-from=- --ignore-failed-read | tar -C "$1" --extract
}

free_port() {
    python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_redis() {
    if [[ -n ${SAFEKLAVIYO_TEST_REDIS:-} ]]; then return; fi
    if ! command -v redis-server >/dev/null; then
        not_run+=("the tests that need a Redis server: redis-server is not installed")
        return
    fi
    local port
    port=$(free_port)
    redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work" >"$work/redis.log" 2>&1 </dev/null &
    redis_pid=$!
    export SAFEKLAVIYO_TEST_REDIS="redis://127.0.0.1:$port/15"
    for _ in {1..50}; do
        if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        sleep 0.1
    done
    not_run+=("the tests that need a Redis server: redis-server did not start")
}

# PostgreSQL does not run as root.
as_postgres() {
    if [[ $(id -u) -eq 0 ]]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

start_postgres() {
    if [[ -n ${SAFEKLAVIYO_TEST_POSTGRES:-} ]]; then return; fi
    postgres_bin=$(dirname "$( (compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb || true) | sort -V | tail -n 1)")
    if [[ ! -x $postgres_bin/initdb ]]; then
        not_run+=("the tests that need a PostgreSQL server: initdb is not installed")
        return
    fi
    local port folder
    port=$(free_port)
    folder=$work/postgres
    mkdir "$folder"
    chmod 711 "$work"
    if [[ $(id -u) -eq 0 ]]; then chown postgres "$folder"; fi
    if as_postgres "$postgres_bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$work/postgres.log" 2>&1 &&
        as_postgres "$postgres_bin/pg_ctl" -D "$folder/data" -w -l "$folder/log" start >>"$work/postgres.log" 2>&1 \
            -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c fsync=off -c max_connections=200"; then
        postgres_data=$folder/data
        as_postgres "$postgres_bin/createdb" -h 127.0.0.1 -p "$port" -U postgres test
        export SAFEKLAVIYO_TEST_POSTGRES="postgresql://postgres@127.0.0.1:$port/test"
    else
        tail -n 5 "$work/postgres.log"
        not_run+=("the tests that need a PostgreSQL server: it did not start")
    fi
}

# closing NAME: the last line that pytest printed.
closing() {
    grep -E '^=+ .* in [0-9.]+s' "$work/$1.log" 2>/dev/null | tail -n 1 || echo "=== pytest did not end ($1) ==="
}

# Interpreters, servers and programs, in an environment without anything of the caller's.
prepare() {
    # Without bytecode files, each worker and each process that a test starts compiles everything again.
    unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE VIRTUAL_ENV KLAVIYO_API_KEY SAFEKLAVIYO_STORE
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTEST_ADDOPTS="-rfEs"
    find_pythons
    find_programs
    start_redis
    start_postgres
    copy_checkout "$work/source"
}
