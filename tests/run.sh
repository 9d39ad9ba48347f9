#!/usr/bin/env bash
# Every check of the project: setup, ruff, mypy, and all floors of tests this machine allows, coverage of the core
# included.
#
#   tests/run.sh                    everything
#   tests/run.sh -k lab -x          the same checks, with these arguments for the last pytest run
#
# The first run sets up what it needs (Debian packages as root, a virtual environment in .venv); later ones take seconds
# for that. Exit code 0: every check passed. The last line is pytest's summary of the whole.
set -u
# shellcheck source=tests/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$root" || exit 1

scratch=$(mktemp -d)
trap 'kill $(jobs -rp) 2>/dev/null; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

heading "Setup"
left_out=()
choose_python
need_venv
if [ "$(id -u)" -eq 0 ]; then
    need iproute2 "makes network namespaces" command -v ip
    need nftables "makes NATs and firewalls in them" command -v nft
    need iputils-ping "sends pings through the tunnel" command -v ping
    need coturn "is another TURN server and client" command -v turnserver
    need openssl "makes certificates for it" command -v openssl
    need curl "is another HTTP client" command -v curl
    need miniupnpd-nftables "maps ports, as home routers do" command -v miniupnpd
    need redis-server "keeps rooms for several servers" command -v redis-server
    need ethtool "turns a link's offloads off" command -v ethtool
    need systemd "judges the units in systemd/" command -v systemd-analyze
    need chromium "is the browser that looks at the server's page" command -v chromium
    need chromium-driver "lets the tests drive it" command -v chromedriver
    need caddy "is a reverse proxy in front of the server" command -v caddy
    need nginx "is another one" command -v nginx
    need libnginx-mod-stream "lets it share a port with TURN" test -e /usr/lib/nginx/modules/ngx_stream_module.so
    need python3-gi "runs libnice, another ICE implementation" /usr/bin/python3 -c 'import gi'
    need gir1.2-nice-0.1 "is libnice" /usr/bin/python3 -c 'import gi; gi.require_version("Nice", "0.1")'
    [ -e /dev/net/tun ] || left_out+=("tests in namespaces: there is no /dev/net/tun (modprobe tun)")
else
    left_out+=("tests in namespaces: they need root (sudo $0)")
fi
install_packages
make_venv dev
"$venv/bin/python" -c 'import atheris' 2>/dev/null ||
    left_out+=("coverage-guided fuzzing: atheris has no wheel for $("$venv/bin/python" -V) on $(uname -m); random bytes instead")

# --- The checks before the last run ----------------------------------------------------------------------------------

# check NAME COMMAND...: run a check with its output in a file, and print one line when it is done.
check() {
    local name=$1 log=$scratch/${1//[^a-z0-9]/-} began=$SECONDS detail
    shift
    if "$@" >"$log" 2>&1 </dev/null; then
        detail=$(tail -n 1 "$log")
        printf '  %sok%s      %-22s %s (%d s)\n' "$green" "$plain" "$name" "$detail" $((SECONDS - began))
    else
        echo "$name" >>"$scratch/failed"
        printf '  %sFAILED%s  %-22s (%d s)\n' "$red" "$plain" "$name" $((SECONDS - began))
    fi
}

types() { "$venv/bin/mypy"; }
lint() { "$venv/bin/ruff" check .; }
format() { "$venv/bin/ruff" format --check .; }

heading "Checks"
checks=("mypy --strict:types" "ruff check:lint" "ruff format:format")  # the longest first
for entry in "${checks[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    # shellcheck disable=SC2086  # the command's words are ours
    check "${entry%%:*}" ${entry#*:} &
done
wait

failed=()
[ ! -s "$scratch/failed" ] || mapfile -t failed <"$scratch/failed"
for name in ${failed[@]+"${failed[@]}"}; do
    heading "$name"
    tail -n 60 "$scratch/${name//[^a-z0-9]/-}"
done

# --- The last run ----------------------------------------------------------------------------------------------------

# hundreds of programs are started below: they needn't all compile the package anew, where an image says so
unset PYTHONDONTWRITEBYTECODE

heading "Tests"
if [ ${#left_out[@]} -gt 0 ]; then
    printf '  %sleft out%s  %s\n' "$yellow" "$plain" "${left_out[@]}"
fi
if [ ${#failed[@]} -gt 0 ]; then
    printf '  %sFAILED%s before the tests: %s\n' "$red" "$plain" "$(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
fi
# without arguments, the tests of some packages run inside of tests/test_coverage.py
once=()
[ $# -gt 0 ] || mapfile -t once < <("$venv/bin/python" -m tests.test_coverage | sed 's/^/--ignore=/')
# three at once: two are the laboratory, which waits most of the time and goes first when it doesn't (tests/conftest.py)
"$venv/bin/python" -m pytest -n 3 --dist loadgroup ${once[@]+"${once[@]}"} "$@" </dev/null
result=$?
[ "$result" -ne 0 ] || [ ${#failed[@]} -eq 0 ] || result=1
exit "$result"
