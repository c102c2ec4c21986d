#!/usr/bin/env bash
# What a gateway does with more than it can: goodput under three times what it can carry, and how long short requests take
# while long ones are more than enough. One command:
#
#   loadtest/overload.sh
#
# Two cases, each on a model that is made for it (tests/python/slow_model.py):
#   goodput    calls of about a millisecond, server on one processor, load on the other. First as fast as 32 connections go:
#              the peak. Then three times the peak in an open loop, each request with 100 ms (tidegate-timeout): answers per
#              second over the peak, and the 99th percentile of those that were accepted. Once in the model's lane, where such
#              calls run by default, and once on the worker, with an inline_limit above what a call takes.
#   isolation  breast-cancer at a constant rate, alone and while another model of some 500 ms a call is kept busy by 8
#              connections, server on both processors: the 99th percentile of the short requests, over that alone; rounds
#              of both, one after the other.
#
# Fails if an answer is wrong, or if a request fails in another way than by 429 or 504.
#
# Settings (environment): SECONDS_PER_CASE (8), RATE of the short requests (500), ROUNDS of the isolation case (5),
# ENGINE_FLAGS, GATEWAY, LOAD (a load binary), PYTHON with the package onnx, NAME (overload), OUT (loadtest/results).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SECONDS_PER_CASE=${SECONDS_PER_CASE:-8}
RATE=${RATE:-500}
ROUNDS=${ROUNDS:-5}
NAME=${NAME:-overload}
read -r -a ENGINE_ARGUMENTS <<<"${ENGINE_FLAGS:-}"
MEDIUM=256
LONG=1024
SHORT_MODEL=breast-cancer

# bodies NAME SIZE COUNT: requests for a slow model, and the sums that it answers.
bodies() {
  "$PYTHON" - "$SCRATCH/$1" "$2" "$3" <<'PY'
import json, sys
path, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(path + ".ndjson", "w") as bodies, open(path + ".expected", "w") as expected:
    for index in range(count):
        value = index % 50 / 8
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, size], "data": [value] * size}
        bodies.write(json.dumps({"inputs": [tensor]}) + "\n")
        expected.write(json.dumps([value * size]) + "\n")
PY
}

# load MODEL NAME MEMBERS: one run against the gateway; its JSON.
load() {
  local expected=""
  [[ -e $SCRATCH/$2.expected ]] && expected="\"expected\":\"$SCRATCH/$2.expected\",\"pointer\":\"/outputs/0/data\",\"tolerance\":0.01,"
  (on_cpus "${LOAD_CPUS:-}" "$LOAD" "{\"address\":\"$HTTP\",\"path\":\"/v2/models/$1/infer\",\"bodies\":\"$SCRATCH/$2.ndjson\",$expected$3}")
}

# value JSON NAME
value() {
  "$PYTHON" -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$1" "$2"
}

calculate() {
  awk "BEGIN { printf \"%.3f\", $1 }"
}

check() {
  [[ $(value "$1" failed) == 0 ]] || fail "$2: $(value "$1" failed) requests failed: $(value "$1" first_failure)"
}

wait_for() {
  local tries
  for ((tries = 0; tries < 1800; tries++)); do
    curl --silent --fail --output /dev/null "http://$HTTP/v2/models/$1/ready" && return
    sleep 0.1
  done
  fail "model $1 was not ready within three minutes"
}

need_python
need_load
make_scratch
mkdir -p "$SCRATCH/models/medium/1" "$SCRATCH/models/long/1"
cp -a "$ROOT/models/$SHORT_MODEL" "$SCRATCH/models/"
"$PYTHON" "$ROOT/tests/python/slow_model.py" "$SCRATCH/models/medium/1/model.onnx" "$MEDIUM" "${MEDIUM_STEPS:-330}"
"$PYTHON" "$ROOT/tests/python/slow_model.py" "$SCRATCH/models/long/1/model.onnx" "$LONG" "${LONG_STEPS:-8500}"
bodies medium "$MEDIUM" 200
bodies long "$LONG" 20
"$ROOT/loadtest/bodies.sh" "$SHORT_MODEL" 1 500 >"$SCRATCH/short.ndjson"

# goodput NAME FLAG…: the peak and the overload, to NAME-peak.json and NAME-over.json.
goodput() {
  local name=$1 peak over
  shift
  SERVER_CPUS=0 LOAD_CPUS=1
  start_gateway --log-level info --models "$SCRATCH/models" --workers 1 --state "$SCRATCH/state-$name" "$@" ${ENGINE_ARGUMENTS[@]+"${ENGINE_ARGUMENTS[@]}"}
  wait_for medium
  load medium medium '"connections":32,"seconds":2' >/dev/null
  peak=$(load medium medium "\"connections\":32,\"seconds\":$SECONDS_PER_CASE")
  check "$peak" "$name, peak"
  over=$(load medium medium "\"connections\":512,\"seconds\":$SECONDS_PER_CASE,\"rate\":$(calculate "3 * $(value "$peak" requests_per_second)"),\"headers\":{\"tidegate-timeout\":\"100ms\"},\"refusals\":[429,504]")
  check "$over" "$name, overload"
  kill -TERM "$GATEWAY_PID"
  wait "$GATEWAY_PID" || true
  GATEWAY_PID=
  printf '%s' "$peak" >"$SCRATCH/$name-peak.json"
  printf '%s' "$over" >"$SCRATCH/$name-over.json"
}

# goodput_rows NAME TEXT: both as rows of the table.
goodput_rows() {
  local peak over peak_rate
  peak=$(cat "$SCRATCH/$1-peak.json") over=$(cat "$SCRATCH/$1-over.json")
  peak_rate=$(value "$peak" requests_per_second)
  printf '| %s: peak, 32 connections | %.0f | 1 | 0 | %.1f | %.1f |\n' "$2" "$peak_rate" "$(value "$peak" p50_ms)" "$(value "$peak" p99_ms)"
  printf '| %s: three times the peak, 100 ms a request | %.0f | %s | %s | %.1f | %.1f |\n' "$2" "$(value "$over" requests_per_second)" \
    "$(calculate "$(value "$over" requests_per_second) / $peak_rate")" "$(value "$over" refused)" \
    "$(value "$over" p50_ms)" "$(value "$over" p99_ms)"
}

say "goodput in a lane: server on processor 0, load on processor 1"
goodput lane
say "goodput on the worker: the same"
printf '[execution]\ninline_limit = "1s"\n' >"$SCRATCH/inline.toml"
goodput worker --config "$SCRATCH/inline.toml"

say "isolation: server and load on both processors"
SERVER_CPUS='' LOAD_CPUS=''
start_gateway --log-level info --models "$SCRATCH/models" --workers 2 --state "$SCRATCH/state-2" ${ENGINE_ARGUMENTS[@]+"${ENGINE_ARGUMENTS[@]}"}
wait_for long
short="\"connections\":16,\"seconds\":$((SECONDS_PER_CASE / 2)),\"rate\":$RATE"
load "$SHORT_MODEL" short "$short" >/dev/null
# Alternating, since a machine that is shared is a little slower in one minute than in the next.
for ((round = 1; round <= ROUNDS; round++)); do
  alone=$(load "$SHORT_MODEL" short "$short")
  load long long "\"connections\":8,\"seconds\":$((SECONDS_PER_CASE / 2 + 4)),\"refusals\":[429,504]" >"$SCRATCH/long.json" &
  LOAD_PID=$!
  sleep 2
  beside=$(load "$SHORT_MODEL" short "$short")
  wait "$LOAD_PID"
  busy=$(cat "$SCRATCH/long.json")
  check "$alone" alone
  check "$beside" "beside a busy model"
  check "$busy" "the busy model"
  printf '{"alone":%s,"beside":%s,"long":%s}\n' "$alone" "$beside" "$busy" >>"$SCRATCH/rounds.ndjson"
done

# median EXPRESSION: of the rounds, each of which is `r` there.
median() {
  "$PYTHON" - "$SCRATCH/rounds.ndjson" "$1" <<'PY'
import json, statistics, sys
rounds = [json.loads(line) for line in open(sys.argv[1])]
print(round(statistics.median(eval(sys.argv[2], {"r": r}) for r in rounds), 3))
PY
}

{
  printf '{"case":"%s",%s,"peak":%s,"overload":%s,"worker_peak":%s,"worker_overload":%s,"rounds":[%s]}\n' \
    "$NAME" "$(machine_members)" "$(cat "$SCRATCH/lane-peak.json")" "$(cat "$SCRATCH/lane-over.json")" \
    "$(cat "$SCRATCH/worker-peak.json")" "$(cat "$SCRATCH/worker-over.json")" "$(paste -sd, "$SCRATCH/rounds.ndjson")"
} >"$OUT/$NAME.json"
{
  printf '%s.\n\n' "$(machine_line)"
  printf '| case | answers/s | over peak | refused | p50 ms | p99 ms |\n|---|---|---|---|---|---|\n'
  goodput_rows lane 'in a lane'
  goodput_rows worker 'on the worker'
  printf '\n| short requests, %s/s, medians of %s rounds | p50 ms | p99 ms | p99 over that alone |\n|---|---|---|---|\n' "$RATE" "$ROUNDS"
  printf '| alone | %s | %s | 1 |\n' "$(median 'r["alone"]["p50_ms"]')" "$(median 'r["alone"]["p99_ms"]')"
  printf '| beside a model of %.0f ms a call, 8 connections | %s | %s | %s |\n' \
    "$(median "1000 * 2 * ($SECONDS_PER_CASE / 2 + 4) / r[\"long\"][\"requests\"]")" \
    "$(median 'r["beside"]["p50_ms"]')" "$(median 'r["beside"]["p99_ms"]')" \
    "$(median 'r["beside"]["p99_ms"] / r["alone"]["p99_ms"]')"
} | tee "$OUT/$NAME.md"
