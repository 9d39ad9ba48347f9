#!/usr/bin/env bash
# Two machines behind two NATs, one command each, and packets between them: directly, and, where a network lets no UDP
# out, over a relay of one's own. Needs root; touches nothing outside the network namespaces that it makes, and removes
# those at the end.
#
#   sudo examples/demo.sh
#
#     alice ---- NAT ----+                         +---- NAT ---- bob
#  192.168.1.10  198.51.100.2                 198.51.100.18  192.168.2.10
#                        +------ internet ---------+
#                                    |
#                    server 203.0.113.2: p2ptun serve
set -u
# shellcheck source=tests/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/../tests/setup.sh"

lab=p2ptun-demo-$$
spaces=()
pids=()
voices=()
scratch=$(mktemp -d)

clean_up() {
    trap '' INT TERM HUP
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null
    [ ${#voices[@]} -eq 0 ] || kill "${voices[@]}" 2>/dev/null
    wait
    local space
    for space in ${spaces[@]+"${spaces[@]}"}; do ip netns delete "$lab-$space" 2>/dev/null; done
    rm -rf "$scratch"
}
trap clean_up EXIT
exec 4>&1  # the trap may run while a function's output goes elsewhere
trap 'printf "\n%s\n" "Interrupted: removing what was made." >&4; exit 130' INT
trap 'exit 143' TERM HUP

# --- The network -----------------------------------------------------------------------------------------------------

# on NAME COMMAND...: run a command on one of the machines.
on() { ip netns exec "$lab-$1" "${@:2}"; }

machine() {
    spaces+=("$1")
    ip netns add "$lab-$1" && on "$1" ip link set lo up
}

# cable NAME DEVICE ADDRESS NAME DEVICE ADDRESS: join two machines.
cable() {
    ip link add "$2" netns "$lab-$1" type veth peer name "$5" netns "$lab-$4"
    on "$1" ip address add "$3" dev "$2"
    on "$1" ip link set "$2" up
    on "$4" ip address add "$6" dev "$5"
    on "$4" ip link set "$5" up
}

gateway() { on "$1" ip route add default via "$2"; }

# A home router: lets out what starts inside under its own address, lets in only the answers.
nat() {
    on "$1" sysctl -qw net.ipv4.ip_forward=1
    on "$1" nft -f - <<'NFT'
table ip home {
  chain outgoing { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
  chain passing {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan" accept
  }
  chain arriving {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname { "lo", "lan" } accept
  }
}
NFT
}

# A firewall that lets no UDP through, as there are in hotels and companies.
block_udp() {
    on "$1" nft -f - <<'NFT'
table ip hotel {
  chain passing { type filter hook forward priority filter - 1; meta l4proto udp drop; }
}
NFT
}

build_network() {
    local name
    for name in internet server alice-nat alice bob-nat bob; do machine "$name"; done
    on internet sysctl -qw net.ipv4.ip_forward=1
    cable internet to-server 203.0.113.1/24 server eth0 203.0.113.2/24
    cable internet to-alice 198.51.100.1/28 alice-nat wan 198.51.100.2/28
    cable internet to-bob 198.51.100.17/28 bob-nat wan 198.51.100.18/28
    cable alice-nat lan 192.168.1.1/24 alice eth0 192.168.1.10/24
    cable bob-nat lan 192.168.2.1/24 bob eth0 192.168.2.10/24
    gateway server 203.0.113.1
    gateway alice-nat 198.51.100.1
    gateway bob-nat 198.51.100.17
    gateway alice 192.168.1.1
    gateway bob 192.168.2.1
    nat alice-nat
    nat bob-nat
}

# --- The tunnel ------------------------------------------------------------------------------------------------------

# Two machines have two /run/p2ptun; two namespaces share one, so each gets a directory of its own.
machine_environment() { echo "P2PTUN_RUNTIME_DIRECTORY=$scratch/run-$1"; }
p2ptun() { on "$1" env "$(machine_environment "$1")" "$venv/bin/p2ptun" "${@:2}"; }

# start NAME STDIN VERB...: run p2ptun on a machine in the background; it says on our stdout what it says on stderr.
start() {
    local name=$1 stdin=$2
    shift 2
    rm -f "$scratch/$name-says"
    mkfifo "$scratch/$name-says"
    sed -u "s/^/  $bold$(printf %-6s "$name")$plain | /" <"$scratch/$name-says" &
    voices+=($!)
    ip netns exec "$lab-$name" env "$(machine_environment "$name")" "$venv/bin/p2ptun" "$@" \
        <"$stdin" >"$scratch/$name-prints" 2>"$scratch/$name-says" &
    pids+=($!)
}

# meet: alice shares, bob joins with the code that she tells him; sets alice_pid and bob_pid.
meet() {
    local name code
    for name in alice bob; do : >"$scratch/$name-prints"; done
    say "${bold}alice\$ p2ptun share --rendezvous $rendezvous$plain"
    start alice /dev/null share --rendezvous "$rendezvous"
    alice_pid=$!
    wait_for 20 "a code from alice" grep -q . "$scratch/alice-prints"
    read -r code <"$scratch/alice-prints"
    say "alice tells bob: $code"
    say "${bold}bob\$   p2ptun join --rendezvous $rendezvous $code$plain"
    start bob /dev/null join --rendezvous "$rendezvous" "$code"
    bob_pid=$!
    wait_for 30 "a tunnel on alice's side" is_connected alice
    wait_for 30 "a tunnel on bob's side" is_connected bob
    bob_v4=$(address bob False) && bob_v6=$(address bob True) || give_up "bob's status can't be read."
}

# part: Ctrl-C on alice's side; both end, and nothing is left of them.
part() {
    local pid name
    kill -INT "$alice_pid"
    for pid in "$alice_pid" "$bob_pid"; do wait "$pid" || give_up "p2ptun ended with exit code $?."; done
    pids=("$server_pid")
    wait "${voices[@]:1}"  # all but the server's
    voices=("${voices[0]}")
    for name in alice bob; do
        ! on "$name" ip -brief link | grep -q p2ptun || give_up "An interface was left behind on $name."
        ! ls "$scratch/run-$name"/* >/dev/null 2>&1 || give_up "A control socket was left behind on $name."
    done
    say "exit code 0 twice; interfaces, routes and control sockets are gone"
}

all_run() {
    local pid
    for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || return 1; done
}

# wait_for SECONDS WHAT COMMAND...: repeat the command until it succeeds, while all our programs run.
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        all_run || { sleep 0.2; give_up "A program ended before there was $what."; }
        [ "$SECONDS" -lt "$end" ] || give_up "There was not in time: $what."
        sleep 0.1
    done
}

# field NAME EXPRESSION: a part of the tunnel's status, as a Python expression of the document `it`.
field() { p2ptun "$1" status --json | "$venv/bin/python" -c "import json, sys; it = json.load(sys.stdin); print($2)" 2>/dev/null; }
# kind NAME: direct or relay.
kind() { field "$1" 'it["peers"][0]["path"]["kind"]'; }
is_relayed() { [ "$(kind "$1")" = relay ]; }
is_direct() { [ "$(kind "$1")" = direct ]; }
is_connected() { [ "$(field "$1" 'it["peers"][0]["state"]')" = connected ]; }
address() { field "$1" "[a.split('/')[0] for a in it['interface']['addresses'] if (':' in a) == $2][0]"; }

ping_bob() {
    local said
    said=$(on alice ping -n -c 5 -i 0.2 -W 2 "$1") || give_up "No answer from $1 through the tunnel."
    say "ping $1: $(sed -n 's/^rtt .* = [^/]*\/\([^/]*\)\/.*/answered, \1 ms on average/p' <<<"$said")"
}

# carry_a_file MEGABYTES: bob serves it, alice fetches it through the tunnel.
carry_a_file() {
    local sent got megabytes=$1
    head -c "$((megabytes * 1024 * 1024))" /dev/urandom >"$scratch/file"
    sent=$(sha256sum <"$scratch/file")
    # a plain TCPServer: http.server itself first asks DNS for its own name, which may take a while in a lab without one
    ip netns exec "$lab-bob" "$venv/bin/python" -c "
import functools, http.server, socketserver
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory='$scratch')
socketserver.TCPServer(('$bob_v4', 8000), handler).serve_forever()" >/dev/null 2>&1 &
    local server=$!
    pids+=("$server")
    wait_for 10 "a web server on bob" on bob "$venv/bin/python" -c "import socket; socket.create_connection(('$bob_v4', 8000), 1)"
    local began=$EPOCHREALTIME took
    got=$(on alice "$venv/bin/python" -c "
import shutil, sys, urllib.request
shutil.copyfileobj(urllib.request.build_opener(urllib.request.ProxyHandler({})).open('http://$bob_v4:8000/file'), sys.stdout.buffer, 1 << 18)" | sha256sum)
    took=$(("${EPOCHREALTIME/[.,]/}" - "${began/[.,]/}"))
    [ "$sent" = "$got" ] || give_up "The file arrived changed: ${got%% *} instead of ${sent%% *}."
    say "$megabytes MiB over TCP: SHA-256 ${sent:0:16}... on both sides, $((megabytes * 8388608 / took)) Mbit/s"
    kill "$server"
    wait "$server" 2>/dev/null
    unset "pids[-1]"
}

# --- The story -------------------------------------------------------------------------------------------------------

megabytes=${P2PTUN_DEMO_MEGABYTES:-100}

[ "$(id -u)" -eq 0 ] || give_up "The demo makes network namespaces and TUN devices: that needs root." "sudo $0"
heading "Setup"
need iproute2 "makes network namespaces" command -v ip
need nftables "makes the NATs" command -v nft
need iputils-ping "sends pings through the tunnel" command -v ping
need procps "turns on forwarding in the routers" command -v sysctl
install_packages
choose_python
need_venv
make_venv ""
[ -e /dev/net/tun ] || modprobe tun 2>/dev/null
[ -e /dev/net/tun ] || give_up "There is no /dev/net/tun here." "In a container: start it with --device /dev/net/tun --cap-add NET_ADMIN."

heading "Two homes, each behind its NAT, and a server on the internet between them"
build_network || give_up "The network could not be built." "The lines above say why."
say "alice 192.168.1.10 behind 198.51.100.2, bob 192.168.2.10 behind 198.51.100.18"
! on alice ping -n -c 1 -W 1 198.51.100.18 >/dev/null 2>&1 || give_up "The NAT lets pings in: this is no demonstration."
say "alice pings bob's NAT: no answer, as it should be"

heading "One server: a place to meet, the public address, and a relay for those who have met"
rendezvous=http://203.0.113.2:8080
(umask 077 && p2ptun server genpsk >"$scratch/secret")
serve=(--listen 203.0.113.2:8080 --stun-listen 203.0.113.2 --relay)
say "${bold}server\$ p2ptun genpsk >secret$plain"
say "${bold}server\$ p2ptun serve ${serve[*]} --secret-file secret$plain"
start server /dev/null serve "${serve[@]}" --secret-file "$scratch/secret"
server_pid=$!
listens() { on server ss -Hlntu | grep tcp | grep -q ':8080 '; }
wait_for 10 "the server" listens

heading "One command each, and a code"
meet
wait_for 30 "a direct path on alice's side" is_direct alice
wait_for 30 "a direct path on bob's side" is_direct bob
say "the path is direct, from NAT to NAT; the server has no part in it"

heading "Packets through it"
ping_bob "$bob_v4"
ping_bob "$bob_v6"
carry_a_file "$megabytes"

heading "p2ptun status"
say "${bold}alice\$ p2ptun status$plain"
p2ptun alice status
say "${bold}bob\$   p2ptun status$plain"
p2ptun bob status

heading "Ctrl-C on alice's side ends it on both"
part

heading "Now alice is in a hotel whose firewall lets no UDP out: the same commands"
block_udp alice-nat || give_up "The firewall could not be set up."
meet
wait_for 30 "a relayed path on alice's side" is_relayed alice
wait_for 30 "a relayed path on bob's side" is_relayed bob
say "the path leads over the server, to which alice speaks TCP; it can read nothing of what it relays"
ping_bob "$bob_v4"
carry_a_file "$((megabytes < 20 ? megabytes : 20))"
say "${bold}alice\$ p2ptun status$plain"
p2ptun alice status

heading "Ctrl-C on alice's side ends it on both"
part

kill -INT "$server_pid"
wait "$server_pid" || give_up "The server ended with exit code $?."
pids=()
wait "${voices[@]}"
voices=()
printf '\n%sDone.%s\n' "$green" "$plain"
