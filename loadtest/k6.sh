#!/usr/bin/env bash
# Latency of one model under open-loop load with k6; every answer is checked.
#
#   loadtest/k6.sh
#   MODEL=breast-cancer RATE=1000 SECONDS_PER_CASE=20 loadtest/k6.sh
#
# Settings (environment): MODEL (churn), BATCH rows a body (1), RATE in requests/s (500), SECONDS_PER_CASE (10), WORKERS
# (one per processor), ENGINE_FLAGS, SERVER_CPUS and LOAD_CPUS (processor lists for taskset), NAME of the result (k6), OUT
# (loadtest/results), TOOLS (target/tools).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MODEL=${MODEL:-churn}
BATCH=${BATCH:-1}
RATE=${RATE:-500}
SECONDS_PER_CASE=${SECONDS_PER_CASE:-10}
NAME=${NAME:-k6}
read -r -a ENGINE_ARGUMENTS <<<"${ENGINE_FLAGS:-}"
if [[ -n ${WORKERS:-} ]]; then
  ENGINE_ARGUMENTS+=(--workers "$WORKERS")
fi

need_k6
make_scratch
start_gateway --log-level info --models "$ROOT/models" ${ENGINE_ARGUMENTS[@]+"${ENGINE_ARGUMENTS[@]}"}

result=$SCRATCH/k6.json
say "open loop, $RATE requests/s, ${SECONDS_PER_CASE} s"
passed=yes
run_k6 "$MODEL" "$RATE" "${SECONDS_PER_CASE}s" "$result" || passed=no
[[ -s $result ]] || fail "k6 wrote no result"

tool=$("$K6" version | cut -d ' ' -f 1-2)
{
  printf '{"case":"%s","model":"%s","batch":%s,"open_rate":%s,"tool":"%s",%s,\n"load":' \
    "$NAME" "$MODEL" "$BATCH" "$RATE" "$tool" "$(machine_members)"
  cat "$result"
  printf '}\n'
} >"$OUT/$NAME.json"
{
  printf '%s, batch %s, %s. %s.\n\n' "$MODEL" "$BATCH" "$tool" "$(machine_line)"
  k6_table_head
  k6_row "open loop at $RATE/s" "$result"
} | tee "$OUT/$NAME.md"

[[ $passed == yes ]] || fail "a request failed or an answer's version differed; see $OUT/$NAME.json"
