#!/usr/bin/env bash
# Throughput and latency of one model with oha: as fast as it goes, then at a constant rate.
#
#   loadtest/oha.sh
#   MODEL=churn BATCH=64 SECONDS_PER_CASE=20 RATE=2000 loadtest/oha.sh
#
# Settings (environment): MODEL (breast-cancer), BATCH rows a body (1), CONNECTIONS (16), RATE of the open loop in
# requests/s (5000), SECONDS_PER_CASE (10), WORKERS (one per processor), ENGINE_FLAGS (for example
# "--onnxruntime /path/libonnxruntime.so"), SERVER_CPUS and LOAD_CPUS (processor lists for taskset), NAME of the result
# (oha), OUT (loadtest/results), TOOLS (target/tools).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MODEL=${MODEL:-breast-cancer}
BATCH=${BATCH:-1}
CONNECTIONS=${CONNECTIONS:-16}
RATE=${RATE:-5000}
SECONDS_PER_CASE=${SECONDS_PER_CASE:-10}
NAME=${NAME:-oha}
read -r -a ENGINE_ARGUMENTS <<<"${ENGINE_FLAGS:-}"
if [[ -n ${WORKERS:-} ]]; then
  ENGINE_ARGUMENTS+=(--workers "$WORKERS")
fi

need_oha
make_scratch
start_gateway --log-level info --models "$ROOT/models" ${ENGINE_ARGUMENTS[@]+"${ENGINE_ARGUMENTS[@]}"}

bodies=$SCRATCH/bodies.ndjson
"$ROOT/loadtest/bodies.sh" "$MODEL" "$BATCH" 1000 >"$bodies"

# run_oha RESULT SECONDS OPTION…
run_oha() {
  local result=$1 seconds=$2
  shift 2
  (on_cpus "${LOAD_CPUS:-}" "$OHA" --no-tui --output-format json --output "$result" \
    -z "${seconds}s" --wait-ongoing-requests-after-deadline -c "$CONNECTIONS" \
    -m POST -T application/json -Z "$bodies" "$@" "http://$HTTP/v2/models/$MODEL/infer")
}

# member FILE SECTION NAME: a number of oha's indented JSON.
member() {
  awk -v section="\"$2\": {" -v name="\"$3\":" '
    index($0, section) { inside = 1 }
    inside && $1 == name { gsub(/,/, "", $2); print $2; exit }' "$1"
}

milliseconds() {
  awk -v seconds="$1" 'BEGIN { printf "%.3f", seconds * 1000 }'
}

# Everything that was not answered with 200.
failures() {
  awk '
    /"statusCodeDistribution": \{/ { inside = "status"; next }
    /"errorDistribution": \{/ { inside = "error"; next }
    /\}/ { inside = "" }
    inside != "" {
      count = $NF; gsub(/[^0-9]/, "", count)
      if (!(inside == "status" && $1 == "\"200\":")) failed += count
    }
    END { print failed + 0 }' "$1"
}

row() {
  local case=$1 file=$2
  printf '| %s | %.0f | %s | %s | %s | %s | %s |\n' "$case" "$(member "$file" summary requestsPerSec)" \
    "$(member "$file" statusCodeDistribution 200)" "$(failures "$file")" \
    "$(milliseconds "$(member "$file" latencyPercentiles p50)")" \
    "$(milliseconds "$(member "$file" latencyPercentiles p99)")" \
    "$(milliseconds "$(member "$file" latencyPercentiles p99.9)")"
}

closed=$SCRATCH/closed.json
open=$SCRATCH/open.json
say "warming up"
run_oha "$SCRATCH/warm.json" 1
say "closed loop, $CONNECTIONS connections, ${SECONDS_PER_CASE} s"
run_oha "$closed" "$SECONDS_PER_CASE"
say "open loop, $RATE requests/s, ${SECONDS_PER_CASE} s"
run_oha "$open" "$SECONDS_PER_CASE" -q "$RATE" --latency-correction

{
  printf '{"case":"%s","model":"%s","batch":%s,"connections":%s,"open_rate":%s,"tool":"%s",%s,\n' \
    "$NAME" "$MODEL" "$BATCH" "$CONNECTIONS" "$RATE" "$("$OHA" --version)" "$(machine_members)"
  printf '"closed_loop":'
  cat "$closed"
  printf ',\n"open_loop":'
  cat "$open"
  printf '}\n'
} >"$OUT/$NAME.json"
{
  printf '%s, batch %s, %s connections, %s. %s.\n\n' \
    "$MODEL" "$BATCH" "$CONNECTIONS" "$("$OHA" --version)" "$(machine_line)"
  printf '| case | requests/s | answered 200 | failed | p50 ms | p99 ms | p99.9 ms |\n|---|---|---|---|---|---|---|\n'
  row "closed loop" "$closed"
  row "open loop at $RATE/s" "$open"
} | tee "$OUT/$NAME.md"

for file in "$closed" "$open"; do
  [[ $(failures "$file") == 0 ]] || fail "requests failed; see $OUT/$NAME.json"
  [[ $(member "$file" statusCodeDistribution 200) -gt 0 ]] || fail "nothing was answered; see $OUT/$NAME.json"
done
