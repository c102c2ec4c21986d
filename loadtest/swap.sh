#!/usr/bin/env bash
# Version swaps and split changes under open-loop load: nothing may fail, and only live versions may answer.
#
#   loadtest/swap.sh
#   RATE=1000 SWAPS=100 SWAP_SECONDS=60 loadtest/swap.sh
#
# First the load alone, for comparison. Then the same load while, SWAPS times over,
#   - a new version directory is renamed into place (two trained models take turns, so the bytes differ) and becomes the
#     one that serves,
#   - a split between it and the version before is asked for through the admin API, and checked,
#   - the split is taken back, and the directory of an older version is taken away.
#
# Fails if a request failed, if an answer's header and body name different versions, if an answer came from a version
# that was not live between the request's leaving and its answer, or if the swaps did not finish under load.
#
# Settings (environment): RATE in requests/s (300), SWAPS (50), SWAP_SECONDS for all of them (20), BEFORE_SECONDS (8),
# BATCH rows a body (1), WORKERS (one per processor), ENGINE_FLAGS, SERVER_CPUS and LOAD_CPUS (processor lists for
# taskset), NAME of the result (swap), OUT (loadtest/results), TOOLS (target/tools).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MODEL=churn
RATE=${RATE:-300}
SWAPS=${SWAPS:-50}
SWAP_SECONDS=${SWAP_SECONDS:-20}
BEFORE_SECONDS=${BEFORE_SECONDS:-8}
NAME=${NAME:-swap}
# Share of the new version in the split that follows each swap, percent.
SHARES=(10 25 50 75 0.5 99.99)
read -r -a ENGINE_ARGUMENTS <<<"${ENGINE_FLAGS:-}"
if [[ -n ${WORKERS:-} ]]; then
  ENGINE_ARGUMENTS+=(--workers "$WORKERS")
fi

now() {
  date +%s%3N
}

# Versions 1, 2, 3, …, of which the odd ones are the trained version 1 and the even ones version 2.
stage() {
  local version=$1
  cp -a "$ROOT/models/$MODEL/$((version % 2 == 1 ? 1 : 2))" "$SCRATCH/staging/$version"
}

# Waits until a request is answered by the version. Without a split, that version then has all of the traffic.
wait_until_serving() {
  local version=$1 tries
  for ((tries = 0; tries < 500; tries++)); do
    if curl --silent --fail --output /dev/null --dump-header - --data "@$SCRATCH/probe.json" \
      "http://$HTTP/v2/models/$MODEL/infer" | grep -q -i "^tidegate-model-version: $version[[:space:]]*\$"; then
      return
    fi
    sleep 0.02
  done
  fail "version $version did not become the one that serves within 10 s"
}

rows_predicted() {
  curl --silent --fail "http://$ADMIN/metrics" | awk '/^tidegate_rows_total/ { sum += $2 } END { print sum + 0 }'
}

put_split() {
  local old=$1 new=$2 share=$3 rest answer
  rest=$(awk -v share="$share" 'BEGIN { printf "%.2f", 100 - share }')
  answer=$(curl --silent --show-error --fail-with-body -X PUT -H 'content-type: application/json' \
    --data "{\"weights\":{\"$old\":$rest,\"$new\":$share}}" "http://$ADMIN/api/v1/models/$MODEL/split") ||
    fail "the split was refused: $answer"
}

clear_split() {
  curl --silent --show-error --fail --output /dev/null -X DELETE "http://$ADMIN/api/v1/models/$MODEL/split" ||
    fail "the split could not be taken back"
}

# Times of each version, in $SCRATCH/live: version, earliest moment it can have answered, moment by which it no longer may.
swap_all() {
  local count version previous started
  started=$(now)
  for ((count = 1; count <= SWAPS; count++)); do
    version=$((FIRST + count))
    previous=$((version - 1))
    stage "$version"
    printf '%s from %s\n' "$version" "$(now)" >>"$SCRATCH/live"
    mv -T "$SCRATCH/staging/$version" "$SCRATCH/models/$MODEL/$version"
    wait_until_serving "$version"
    put_split "$previous" "$version" "${SHARES[count % ${#SHARES[@]}]}"
    # Time under this split, so that the whole is spread over the time there is.
    awk -v now="$(now)" -v due="$((started + count * SWAP_SECONDS * 850 / SWAPS))" \
      'BEGIN { wait = (due - now) / 1000; if (wait > 0) system("sleep " wait) }'
    # Answered when the highest version has all of the traffic again.
    clear_split
    printf '%s until %s\n' "$previous" "$(now)" >>"$SCRATCH/live"
    mv -T "$SCRATCH/models/$MODEL/$previous" "$SCRATCH/staging/gone-$previous"
  done
}

# Compares the moment that each request left and its answer came with the times in which the version was live.
check_versions() {
  awk -F , '
    NR == FNR { split($0, part, " "); if (part[2] == "from") from[part[1]] = part[3]; else until[part[1]] = part[3]; next }
    FNR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
    $column["metric_name"] != "sent" { next }
    {
      answers++
      version = $column["extra_tags"]; sub(/.*version=/, "", version); sub(/&.*/, "", version)
      if (!(version in seen)) { seen[version] = 1; versions++ }
      left = $column["metric_value"]; came = $column["timestamp"]
      if (!(version in from) || came < from[version] || ((version in until) && left > until[version])) {
        wrong++
        if (wrong <= 5) printf "version %s answered a request of %s to %s\n", version, left, came > "/dev/stderr"
      }
    }
    END { printf "%d %d %d\n", answers, versions, wrong }' "$SCRATCH/live" "$SCRATCH/samples.csv"
}

need_k6
make_scratch
# Version 1 and 2 are there from the start; the highest one serves.
FIRST=2
mkdir -p "$SCRATCH/models/$MODEL" "$SCRATCH/staging"
for version in 1 2; do
  stage "$version"
  mv "$SCRATCH/staging/$version" "$SCRATCH/models/$MODEL/$version"
done
cat >"$SCRATCH/tidegate.toml" <<TOML
[repository]
path = "$SCRATCH/models"
poll_interval = "100ms"
# Short, so that versions are also unloaded under load.
bake = "2s"
TOML
start_gateway --config "$SCRATCH/tidegate.toml" ${ENGINE_ARGUMENTS[@]+"${ENGINE_ARGUMENTS[@]}"}
printf '%s from %s\n' "$FIRST" "$(now)" >"$SCRATCH/live"
"$ROOT/loadtest/bodies.sh" "$MODEL" 1 1 >"$SCRATCH/probe.json"

before=$SCRATCH/before.json
during=$SCRATCH/during.json
say "load alone, $RATE requests/s, ${BEFORE_SECONDS} s"
K6_CSV_TIME_FORMAT=unix_milli run_k6 "$MODEL" "$RATE" "${BEFORE_SECONDS}s" "$before" \
  --out "csv=$SCRATCH/samples-before.csv" || fail "a request failed before anything was swapped"

say "the same load and $SWAPS swaps, ${SWAP_SECONDS} s"
rows_before=$(rows_predicted)
K6_CSV_TIME_FORMAT=unix_milli run_k6 "$MODEL" "$RATE" "${SWAP_SECONDS}s" "$during" \
  --out "csv=$SCRATCH/samples.csv" &
load=$!
until [[ $(rows_predicted) -gt $rows_before ]]; do
  kill -0 "$load" 2>/dev/null || fail "k6 ended before its first request"
  sleep 0.1
done
swap_all
under_load=yes
kill -0 "$load" 2>/dev/null || under_load=no
passed=yes
wait "$load" || passed=no
[[ -s $during ]] || fail "k6 wrote no result"
read -r answers versions wrong < <(check_versions)

tool=$("$K6" version | cut -d ' ' -f 1-2)
{
  printf '{"case":"%s","model":"%s","batch":%s,"open_rate":%s,"swaps":%s,"split_changes":%s,"answers_checked":%s,"versions_that_answered":%s,"answers_of_a_version_not_live":%s,"tool":"%s",%s,\n' \
    "$NAME" "$MODEL" "${BATCH:-1}" "$RATE" "$SWAPS" "$SWAPS" "$answers" "$versions" "$wrong" "$tool" "$(machine_members)"
  printf '"before":'
  cat "$before"
  printf ',\n"during":'
  cat "$during"
  printf '}\n'
} >"$OUT/$NAME.json"
{
  printf '%s, batch %s, %s. %s.\n\n' "$MODEL" "${BATCH:-1}" "$tool" "$(machine_line)"
  k6_table_head
  k6_row "before" "$before"
  k6_row "during $SWAPS swaps and $SWAPS splits" "$during"
  printf '\n%s answers from %s versions; %s of them from a version that was not live.\n' "$answers" "$versions" "$wrong"
} | tee "$OUT/$NAME.md"

[[ $passed == yes ]] || fail "a request failed or an answer's version differed; see $OUT/$NAME.json"
[[ $under_load == yes ]] || fail "the load ended before the swaps did: raise SWAP_SECONDS"
[[ $wrong == 0 ]] || fail "$wrong answers came from a version that was not live"
[[ $answers -gt 0 ]] || fail "no answer was checked"
