#!/usr/bin/env bash
# Images a second of two ranks of one thread beside one process of two threads, and the share of exchanges.
#
#   speed.sh [GNR [ROUNDS]]     GNR: a program built with --features mpi [target/release/gnr]; ROUNDS: 5
#
# Trains on random images of 28x28: ResNet-20 (batch norm, synced; group norm) and LeNet, batches of 128, with SGD and with
# exact GNR. The two ways alternate, and change places every round; no round is begun that would not be done within four minutes.
# A run has three epochs, of which the first warms up and is not counted, nor is evaluation. Prints the medians over the rounds.
# Shares are `exchange_seconds` and `exchange_seconds_least` of `train_seconds` in metrics.jsonl (docs/clusters.md).
set -euo pipefail

gnr=$(realpath "${1:-target/release/gnr}")
rounds=${2:-5}
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
root=()
if [ "$(id -u)" -eq 0 ]; then root=(--allow-run-as-root); fi

# The IDX files of MNIST.
count=20000
for part in train t10k; do
    if [ $part = t10k ]; then count=256; fi
    size=$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $((count >> 24)) $((count >> 16 & 255)) $((count >> 8 & 255)) $((count & 255)))
    {
        printf "\\x00\\x00\\x08\\x03$size\\x00\\x00\\x00\\x1c\\x00\\x00\\x00\\x1c"
        head -c $((784 * count)) /dev/urandom
    } >"$home/$part-images-idx3-ubyte"
    {
        printf "\\x00\\x00\\x08\\x01$size"
        # More random bytes than are below ten: a label of each.
        { head -c $((60 * count)) /dev/urandom | tr -dc '\000-\011'; } | head -c "$count" || true
    } >"$home/$part-labels-idx1-ubyte"
done

# The nets and methods: name, images an epoch, settings.
cases=(
    "ResNet-20, SGD|1920|model.name=resnet20 method.gnr=false"
    "ResNet-20, GNR exact|384|model.name=resnet20"
    # Without batch norm gradients alone are exchanged: what overlapping them with the reverse pass could hide.
    "ResNet-20 with group norm, SGD|1920|model.name=resnet20 model.norm=group method.gnr=false"
    "LeNet, SGD|19968|model.name=lenet method.gnr=false"
    "LeNet, GNR exact|6400|model.name=lenet"
)

# train FOLDER IMAGES SETTINGS COMMAND...
train() {
    local folder=$1 images=$2 settings=$3
    shift 3
    local sets=()
    for setting in $settings data.name=mnist "data.dir=$home" "data.subset.count=$images" train.epochs=3 train.eval_every=3 \
        train.batch_size=128 train.workers=1; do
        sets+=(--set "$setting")
    done
    "$@" train digits --quiet --out "$folder" "${sets[@]}"
}

# figures FOLDER IMAGES: images a second, and of the steps' time what a rank spent in exchanges, and the rank with the least.
figures() {
    awk -v images="$2" '
        function value(key) { return match($0, "\"" key "\":[0-9.eE+-]+") ? substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) : 0 }
        /"kind":"epoch"/ && value("epoch") > 1 {
            seen += images; steps += value("train_seconds")
            mean += value("exchange_seconds"); least += value("exchange_seconds_least")
        }
        END { print seen / steps, 100 * mean / steps, 100 * least / steps }' "$1/metrics.jsonl"
}

# median COLUMN FILE
median() {
    awk -v column="$1" '{ print $column }' "$2" | sort -g | awk '{ x[NR] = $1 } END { print (x[int((NR + 1) / 2)] + x[int(NR / 2) + 1]) / 2 }'
}

for round in $(seq "$rounds"); do
    if [ "$round" -gt 1 ] && [ $((SECONDS + SECONDS / (round - 1))) -gt 235 ]; then
        echo "no time for round $round of $rounds: medians of $((round - 1))" >&2
        break
    fi
    for index in "${!cases[@]}"; do
        IFS='|' read -r name images settings <<<"${cases[$index]}"
        ways=(one two)
        if [ $((round % 2)) -eq 0 ]; then ways=(two one); fi
        for way in "${ways[@]}"; do
            folder=$home/$way-$index-$round
            if [ "$way" = one ]; then
                train "$folder" "$images" "$settings train.threads=2" "$gnr"
            else
                train "$folder" "$images" "$settings train.threads=1" mpirun "${root[@]}" --oversubscribe --bind-to none -n 2 "$gnr"
            fi
            figures "$folder" "$images" >>"$home/$way-$index"
        done
    done
    echo "round $round of $rounds: $SECONDS s" >&2
done

echo "| net and method | 1 process x 2 threads, images/s | 2 ranks x 1 thread, images/s | ratio | in exchanges | least of a rank |"
echo "|---|---|---|---|---|---|"
for index in "${!cases[@]}"; do
    one=$(median 1 "$home/one-$index")
    two=$(median 1 "$home/two-$index")
    awk -v name="${cases[$index]%%|*}" -v one="$one" -v two="$two" -v mean="$(median 2 "$home/two-$index")" -v least="$(median 3 "$home/two-$index")" \
        'BEGIN { printf "| %s | %.0f | %.0f | %.2f | %.1f %% | %.1f %% |\n", name, one, two, two / one, mean, least }'
done
