#!/usr/bin/env bash
# Milliseconds a step of one, two and four ranks on two namespaces joined by a limited link, beside the formula of docs/clusters.md.
#
#   scaling.sh [GNR [LINK...]]     GNR: a program built with --features mpi [target/release/gnr]; LINK: a rate as tc has it, and milliseconds
#                                  each way [100mbit 1gbit 100mbit,1 100mbit,5]
#
# As root, with iproute2 (see namespaces.sh). Trains ResNet-20 with group norm on the embedded digits, batches of 128: SGD, exact GNR, and
# exact GNR with local perturbations. Every rank has one thread. Of three epochs the first warms up and is not counted.
# Exchanges are those of the rank that waits least: the others wait for it, which is no cost of the network.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
gnr=$(realpath "${1:-target/release/gnr}")
shift || true
links=("$@")
if [ $# -eq 0 ]; then links=(100mbit 1gbit 100mbit,1 100mbit,5); fi
home=$(mktemp -d)
trap '"$here/namespaces.sh" down; rm -rf "$home"' EXIT

batch=128
cases=(
    "SGD|1|--set method.gnr=false"
    "GNR exact, global|4|"
    "GNR exact, local|1|--set parallel.perturbation=local"
)

# train FOLDER SETTINGS COMMAND...
train() {
    local folder=$1 settings=$2
    shift 2
    # shellcheck disable=SC2086
    "$@" train digits --quiet --out "$folder" $settings --set model.name=resnet20 --set model.norm=group --set train.epochs=3 \
        --set train.eval_every=3 --set "train.batch_size=$batch" --set train.workers=1 --set train.threads=1 >/dev/null
}

# figures FOLDER: milliseconds a step, and of these in exchanges, of the epochs after the first.
figures() {
    awk '
        function value(key) { return match($0, "\"" key "\":[0-9.eE+-]+") ? substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) : 0 }
        /"kind":"epoch"/ && value("epoch") == 1 { first = value("step") }
        /"kind":"epoch"/ && value("epoch") > 1 { last = value("step"); all += value("train_seconds"); least += value("exchange_seconds_least") }
        END { print 1000 * all / (last - first), 1000 * least / (last - first) }' "$1/metrics.jsonl"
}

# formula REDUCTIONS RANKS_EACH BITS_PER_SECOND MS: milliseconds; 272,474 numbers of four bytes, three latencies. The ranks of a
# namespace share its link: a reduction sends each number over it once for each of them.
formula() {
    awk -v k="$1" -v each="$2" -v rate="$3" -v ms="$4" 'BEGIN { print k * (3 * (0.02 + ms) + 1000 * each * 272474 * 4 * 8 / rate) }'
}

echo "| method | link | ranks | ms a step | in exchanges | formula |"
echo "|---|---|---|---|---|---|"
for index in "${!cases[@]}"; do
    IFS='|' read -r name reductions settings <<<"${cases[$index]}"
    case $name in *local*) ;; *)
        train "$home/one-$index" "$settings" "$gnr"
        figures "$home/one-$index" | awk -v name="$name" '{ printf "| %s | | 1 | %.1f | | |\n", name, $1 }'
        ;;
    esac
    for link in "${links[@]}"; do
        IFS=, read -r rate ms <<<"$link,0"
        ms=${ms%%,*}
        "$here/namespaces.sh" up "$rate" "$ms"
        bits=$(echo "$rate" | sed 's/gbit/000000000/; s/mbit/000000/; s/kbit/000/')
        for each in 1 2; do
            train "$home/$index-$link-$each" "$settings" "$here/namespaces.sh" run "$each" "$gnr"
            figures "$home/$index-$link-$each" | awk -v name="$name" -v link="$rate, $ms ms" -v ranks=$((2 * each)) \
                -v formula="$(formula "$reductions" "$each" "$bits" "$ms")" \
                '{ printf "| %s | %s | %d | %.1f | %.1f | %.1f |\n", name, link, ranks, $1, $2, formula }'
        done
    done
done
