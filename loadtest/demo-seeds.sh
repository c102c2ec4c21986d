#!/usr/bin/env bash
# Plays the demo with many seeds, some at a time, and says in how many everything happened as it should.
#
#   loadtest/demo-seeds.sh [SEEDS=50] [AT_ONCE=25]
#
# Each demo is a gateway of its own on free ports at 40 rows a second, so 25 at once are a light load for two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
seeds=${1:-50}
at_once=${2:-25}
cargo build --release --locked --quiet
binary="${CARGO_TARGET_DIR:-target}/release/tidegate"
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

play() {
  if "$1" demo --seed "$2" >"$3/$2.log" 2>&1; then echo passed >"$3/$2.outcome"; else echo failed >"$3/$2.outcome"; fi
}
export -f play
seq 1 "$seeds" | xargs -P "$at_once" -I '{}' bash -c 'play "$@"' _ "$binary" '{}' "$results"

passed=0
for outcome in "$results"/*.outcome; do
  log="${outcome%.outcome}.log"
  if [ "$(cat "$outcome")" = passed ]; then
    passed=$((passed + 1))
  else
    echo "seed $(basename "$log" .log):"
    grep FAILED "$log" || tail -n 3 "$log"
  fi
done
mapfile -t rows < <(sed -n 's/.*the alert fired after \([0-9]*\) shifted rows.*/\1/p' "$results"/*.log | sort -n)
if [ "${#rows[@]}" -gt 0 ]; then
  echo "shifted rows until the alert fired: least ${rows[0]}, median ${rows[$((${#rows[@]} / 2))]}, most ${rows[-1]}"
fi
echo "$passed passed, $((seeds - passed)) failed"
[ "$passed" -eq "$seeds" ]
