#!/usr/bin/env bash
# Two machines on one: network namespaces with addresses and host names of their own, joined by a link of limited bandwidth.
#
#   namespaces.sh up RATE [MS]      make them (as root); RATE as tc has it: 100mbit, 1gbit, 10gbit; MS: milliseconds that the link takes
#                                   each way [0: a veth pair, as fast as the kernel]
#   namespaces.sh run N COMMAND...  COMMAND on N ranks on each
#   namespaces.sh cut | mend        take the link down, and up again
#   namespaces.sh down              remove them
#
# Needs iproute2. Latency comes from delay.py (Python 3), since the netem of many small kernels is missing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

inside() { # HOST COMMAND...
    local host=$1
    shift
    ip netns exec "gnr-$host" unshare --uts sh -c 'hostname "$0"; exec "$@"' "gnr-$host" "$@"
}

case ${1:-} in
up)
    "$0" down 2>/dev/null || true
    ip netns add gnr-a && ip netns add gnr-b
    if [ "${3:-0}" = 0 ]; then
        ip link add gnr-va type veth peer name gnr-vb
    else
        python3 "$here/delay.py" gnr-va gnr-vb "$3" >/dev/null 2>&1 &
        for _ in $(seq 50); do
            if ip link show gnr-vb >/dev/null 2>&1; then break; fi
            sleep 0.1
        done
    fi
    for side in a b; do
        ip link set "gnr-v$side" netns "gnr-$side"
        [ $side = a ] && address=10.77.0.1 || address=10.77.0.2
        ip -n "gnr-$side" address add "$address/24" dev "gnr-v$side"
        ip -n "gnr-$side" link set lo up
        ip -n "gnr-$side" link set "gnr-v$side" up
        ip netns exec "gnr-$side" tc qdisc add dev "gnr-v$side" root tbf rate "${2:-1gbit}" burst 256kbit latency 100ms
    done
    ;;
run)
    ranks=$2
    shift 2
    # The agent gets a host and a command, as ssh does.
    inside a mpirun --allow-run-as-root --oversubscribe --bind-to none \
        --mca plm_rsh_agent "$here/namespaces.sh agent" --mca plm_rsh_no_tree_spawn 1 \
        --mca btl tcp,self,vader --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
        --mca oob_tcp_keepalive_time 5 --mca oob_tcp_keepalive_intvl 2 --mca oob_tcp_keepalive_probes 3 \
        -host "10.77.0.1:$ranks,10.77.0.2:$ranks" -n $((2 * ranks)) "$@"
    ;;
agent)
    shift
    [ "$1" = 10.77.0.1 ] && side=a || side=b
    shift
    inside "$side" sh -c "$*"
    ;;
cut) ip -n gnr-a link set gnr-va down ;;
mend) ip -n gnr-a link set gnr-va up ;;
down)
    ip netns del gnr-a 2>/dev/null || true
    ip netns del gnr-b 2>/dev/null || true
    ;;
*)
    sed -n '2,10p' "$0" >&2
    exit 2
    ;;
esac
