#!/usr/bin/env bash
# How soon a signed webhook is acknowledged, while predictions are served: MLflow's deliveries in an open loop, a fifth of
# them doubled and a tenth forged, against the promise of 5 ms at the 99th percentile. One command:
#
#   loadtest/hooks.sh
#   RATE=1000 SECONDS_PER_CASE=60 loadtest/hooks.sh
#
# Twice the same deliveries: alone, and beside predictions at a constant rate. A delivery that is acknowledged has its
# model looked at at a registry, which here is a small one that says that there are no aliases.
#
# Fails if an acknowledgement is not 202, a forged delivery not 401, or if the gateway counted other numbers of accepted,
# repeated and refused deliveries than were sent. Whether the 5 ms were kept is in the result.
#
# Settings (environment): RATE of deliveries/s (500), DATA_RATE of predictions/s (2000), SECONDS_PER_CASE (20, at most 240:
# signatures are good for five minutes), CONNECTIONS for deliveries (16), MODEL (breast-cancer), WORKERS (one per processor),
# ENGINE_FLAGS, SERVER_CPUS and LOAD_CPUS (processor lists for taskset), GATEWAY, LOAD (binaries to take instead of
# building), PYTHON (python3), NAME (hooks), OUT (loadtest/results).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MODEL=${MODEL:-breast-cancer}
RATE=${RATE:-500}
DATA_RATE=${DATA_RATE:-2000}
SECONDS_PER_CASE=${SECONDS_PER_CASE:-20}
CONNECTIONS=${CONNECTIONS:-16}
PYTHON=${PYTHON:-python3}
NAME=${NAME:-hooks}
LIMIT_MS=5
SECRET=a-secret-of-the-load-test
read -r -a ENGINE_ARGUMENTS <<<"${ENGINE_FLAGS:-}"
if [[ -n ${WORKERS:-} ]]; then
  ENGINE_ARGUMENTS+=(--workers "$WORKERS")
fi
REGISTRY_PID=
DATA_PID=

end_helpers() {
  local process
  for process in $DATA_PID $REGISTRY_PID; do
    kill -TERM "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  DATA_PID='' REGISTRY_PID=''
}

# load SETTINGS-MEMBERS: one run of the load; its JSON.
load() {
  (on_cpus "${LOAD_CPUS:-}" "$LOAD" "{$1}")
}

# value FILE NAME
value() {
  "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"
}

# metric NAME-AND-LABELS: the sum of the samples that begin like this.
metric() {
  curl --silent --fail "http://$ADMIN/metrics" | awk -v start="$1" 'index($0, start) == 1 { sum += $NF } END { print sum + 0 }'
}

outcome() {
  metric "tidegate_hook_deliveries_total{source=\"mlflow\",outcome=\"$1\""
}

# deliver CASE SEED: sends deliveries that this gateway has not seen, and checks what it counted.
deliver() {
  local case=$1 seed=$2 count=$((RATE * SECONDS_PER_CASE)) kind before=() now i=0
  "$PYTHON" "$ROOT/loadtest/measure/hook_deliveries.py" write "$SCRATCH/$case" "$SECRET" "$count" "$seed" \
    >"$SCRATCH/$case-sent.json"
  for kind in accepted repeated refused; do before+=("$(outcome "$kind")"); done
  load "\"address\":\"$ADMIN\",\"path\":\"/hooks/mlflow\",\"bodies\":\"$SCRATCH/$case.ndjson\",\"headers_of\":\"$SCRATCH/$case.headers\",\"status\":202,\"refusals\":[401],\"connections\":$CONNECTIONS,\"seconds\":$((SECONDS_PER_CASE + 30)),\"requests\":$count,\"rate\":$RATE" \
    >"$SCRATCH/$case.json"
  [[ $(value "$SCRATCH/$case.json" failed) == 0 ]] ||
    fail "$case: $(value "$SCRATCH/$case.json" failed) deliveries failed: $(value "$SCRATCH/$case.json" first_failure)"
  for kind in accepted repeated refused; do
    now=$(outcome "$kind")
    [[ $((now - before[i])) == $(value "$SCRATCH/$case-sent.json" "$kind") ]] ||
      fail "$case: the gateway counted $((now - before[i])) $kind, sent were $(value "$SCRATCH/$case-sent.json" "$kind")"
    i=$((i + 1))
  done
}

row() {
  local file=$SCRATCH/$1.json sent=$SCRATCH/$1-sent.json
  printf '| %s | %.0f | %s | %s | %s | %.2f | %.2f | %.2f | %.2f | %s |\n' "$2" "$RATE" "$(value "$sent" accepted)" \
    "$(value "$sent" repeated)" "$(value "$sent" refused)" "$(value "$file" p50_ms)" "$(value "$file" p99_ms)" \
    "$(value "$file" p999_ms)" "$(value "$file" max_ms)" \
    "$(awk -v p99="$(value "$file" p99_ms)" -v limit="$LIMIT_MS" 'BEGIN { print (p99 < limit ? "yes" : "**no**") }')"
}

[[ $SECONDS_PER_CASE -le 240 ]] || fail "SECONDS_PER_CASE is $SECONDS_PER_CASE; signatures are good for 300 s, so at most 240"
need_load
make_scratch
trap 'end_helpers; clean_up' EXIT
on_cpus "${LOAD_CPUS:-}" "$PYTHON" "$ROOT/loadtest/measure/hook_deliveries.py" registry "$SCRATCH/looks" >"$SCRATCH/port" &
REGISTRY_PID=$!
for ((tries = 0; tries < 100; tries++)); do
  [[ -s $SCRATCH/port ]] && break
  sleep 0.1
done
[[ -s $SCRATCH/port ]] || fail "the registry did not start within 10 s"
printf '%s' "$SECRET" >"$SCRATCH/secret"
cat >"$SCRATCH/tidegate.toml" <<TOML
[repository]
path = "$ROOT/models"
[registry.mlflow]
url = "http://127.0.0.1:$(cat "$SCRATCH/port")"
poll_interval = "1h"
webhook_secret = { file = "$SCRATCH/secret" }
[models.churn]
source = "models:/churn"
TOML
start_gateway --config "$SCRATCH/tidegate.toml" --state "$SCRATCH/state" ${ENGINE_ARGUMENTS[@]+"${ENGINE_ARGUMENTS[@]}"}
"$ROOT/loadtest/bodies.sh" "$MODEL" 1 1000 >"$SCRATCH/rows.ndjson"

say "deliveries alone, $RATE/s, ${SECONDS_PER_CASE} s"
deliver alone 1
say "the same beside $DATA_RATE predictions/s"
# Not through a subshell, so that the process that is ended is the load.
on_cpus "${LOAD_CPUS:-}" "$LOAD" "{\"address\":\"$HTTP\",\"path\":\"/v2/models/$MODEL/infer\",\"bodies\":\"$SCRATCH/rows.ndjson\",\"connections\":16,\"seconds\":$((SECONDS_PER_CASE + 2)),\"rate\":$DATA_RATE}" \
  >"$SCRATCH/data.json" &
DATA_PID=$!
sleep 1
deliver beside 2
wait "$DATA_PID" || fail "the load of predictions ended with an error"
DATA_PID=''
[[ $(value "$SCRATCH/data.json" failed) == 0 ]] ||
  fail "$(value "$SCRATCH/data.json" failed) predictions failed: $(value "$SCRATCH/data.json" first_failure)"
# Written off the answers' path, so a moment later.
dropped=$(metric 'tidegate_dropped_total{queue="hook_inbox"}')
kept=$(curl --silent --fail "http://$ADMIN/api/v1/hooks?limit=1000" | "$PYTHON" -c 'import json, sys; print(len(json.load(sys.stdin)["deliveries"]))')
about=$(machine_members)
line=$(machine_line)
end_helpers
looks=$(cat "$SCRATCH/looks")

printf '{"case":"%s","model":"%s","rate":%s,"data_rate":%s,"limit_ms":%s,"looks_at_the_registry":%s,"kept":%s,"dropped":%s,%s,"alone":%s,"beside":%s,"data":%s}\n' \
  "$NAME" "$MODEL" "$RATE" "$DATA_RATE" "$LIMIT_MS" "$looks" "$kept" "$dropped" "$about" "$(cat "$SCRATCH/alone.json")" \
  "$(cat "$SCRATCH/beside.json")" "$(cat "$SCRATCH/data.json")" >"$OUT/$NAME.json"
{
  printf '%s.\n\n' "$line"
  printf '| webhooks, open loop | deliveries/s | accepted | repeated | forged | p50 ms | p99 ms | p99.9 ms | max ms | p99 under %s ms |\n' "$LIMIT_MS"
  printf '|---|---|---|---|---|---|---|---|---|---|\n'
  row alone alone
  row beside "beside $DATA_RATE predictions/s"
  printf '\nPredictions meanwhile (%s): %.0f/s, p50 %.2f ms, p99 %.2f ms. ' "$MODEL" \
    "$(value "$SCRATCH/data.json" requests_per_second)" "$(value "$SCRATCH/data.json" p50_ms)" "$(value "$SCRATCH/data.json" p99_ms)"
  printf 'Looks at the registry: %s. Deliveries in the inbox at the end: %s; not kept because too many waited: %s.\n' "$looks" "$kept" "$dropped"
} | tee "$OUT/$NAME.md"
