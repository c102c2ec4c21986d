# Shared by the load tests: build and start a gateway, get the tools, write results. Sourced, not run.
#
# Everything listens on and talks to 127.0.0.1, on free ports; the gateway is stopped by its process id when the script
# ends, however it ends.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
TOOLS=${TOOLS:-$ROOT/target/tools}
OUT=${OUT:-$ROOT/loadtest/results}
OHA_VERSION=${OHA_VERSION:-1.16.0}
K6_VERSION=${K6_VERSION:-v1.8.1}

GATEWAY_PID=
SCRATCH=

# Says something about progress; results go to standard output.
say() {
  printf '%s\n' "$*" >&2
}

fail() {
  say "error: $*"
  exit 1
}

clean_up() {
  if [[ -n $GATEWAY_PID ]]; then
    kill -TERM "$GATEWAY_PID" 2>/dev/null || true
    wait "$GATEWAY_PID" 2>/dev/null || true
    GATEWAY_PID=
  fi
  if [[ -n $SCRATCH ]]; then
    rm -rf "$SCRATCH"
    SCRATCH=
  fi
}

# A directory of our own beside the build, so that directories can be renamed within one file system.
make_scratch() {
  mkdir -p "$TARGET"
  SCRATCH=$(mktemp -d "$TARGET/loadtest.XXXXXX")
  mkdir -p "$OUT"
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# Runs a command on the processors named by the first argument, anywhere if that is empty.
on_cpus() {
  local cpus=$1
  shift
  if [[ -n $cpus ]]; then
    exec taskset -c "$cpus" "$@"
  fi
  exec "$@"
}

# gateway ARGUMENT…: replaces this process by the gateway. cargo replaces itself too, so the process id stays the same.
gateway() {
  cd "$ROOT" || exit
  if [[ -n ${GATEWAY:-} ]]; then
    on_cpus "${SERVER_CPUS:-}" "$GATEWAY" "$@"
  fi
  on_cpus "${SERVER_CPUS:-}" cargo run --release --quiet -- "$@"
}

# start_gateway ARGUMENT…: builds the gateway in release mode and starts it; sets HTTP and ADMIN.
start_gateway() {
  if [[ -z ${GATEWAY:-} ]]; then
    say "building the gateway (release)"
    (cd "$ROOT" && cargo build --release --quiet)
  fi
  local log=$SCRATCH/gateway.log
  # There before the first look at it.
  : >"$log"
  (gateway serve --http 127.0.0.1:0 --admin 127.0.0.1:0 --log-format text "$@") 2>"$log" &
  GATEWAY_PID=$!
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    kill -0 "$GATEWAY_PID" 2>/dev/null || { cat "$log" >&2; fail "the gateway ended before it was ready"; }
    HTTP=$(sed -n 's/.* listening http=\([0-9.:]*\) admin=.*/\1/p' "$log")
    ADMIN=$(sed -n 's/.* listening http=.* admin=\([0-9.:]*\).*/\1/p' "$log")
    if [[ -n $ADMIN ]] && curl --silent --fail --output /dev/null "http://$ADMIN/readyz"; then
      say "gateway ready: data plane $HTTP, admin $ADMIN, process $GATEWAY_PID"
      return
    fi
    sleep 0.1
  done
  cat "$log" >&2
  fail "the gateway was not ready within 30 s"
}

need_oha() {
  OHA=$TOOLS/bin/oha
  if [[ ! -x $OHA ]]; then
    say "installing oha $OHA_VERSION into $TOOLS (some minutes, once)"
    cargo install oha --locked --version "$OHA_VERSION" --root "$TOOLS" --quiet
  fi
}

need_k6() {
  K6=$TOOLS/k6
  if [[ ! -x $K6 ]]; then
    say "installing k6 $K6_VERSION into $TOOLS (some minutes, once)"
    mkdir -p "$TOOLS"
    GOBIN=$TOOLS go install "go.k6.io/k6@$K6_VERSION"
  fi
}

# An environment with what models are made of, and ONNX Runtime; PYTHON may name one that is there.
need_python() {
  [[ -n ${PYTHON:-} ]] && return
  local environment=$TARGET/loadtest-python
  PYTHON=$environment/bin/python
  if [[ ! -e $environment/whole ]]; then
    say "making a Python environment in $environment (a minute, once)"
    python3 -m venv "$environment"
    "$PYTHON" -m pip install --disable-pip-version-check --quiet --requirement "$ROOT/models/requirements.txt"
    touch "$environment/whole"
  fi
}

# The shared library of ONNX Runtime in that environment.
onnxruntime_library() {
  "$PYTHON" -c 'import glob, os, onnxruntime; print(glob.glob(os.path.dirname(onnxruntime.__file__) + "/capi/libonnxruntime.so.*")[0])'
}

need_load() {
  [[ -n ${LOAD:-} ]] && return
  say "building the load (release)"
  (cd "$ROOT" && cargo build --release --quiet --example load)
  LOAD=$TARGET/release/examples/load
}

# measure CASE OPTION…: runs loadtest/measure/CASE.py, which starts gateways itself, one worker each, and writes the result.
measure() {
  local case=$1 status=0
  shift
  SERVER_CPUS=${SERVER_CPUS:-0} LOAD_CPUS=${LOAD_CPUS:-1} WORKERS=1
  need_python
  need_load
  if [[ -z ${GATEWAY:-} ]]; then
    say "building the gateway (release)"
    (cd "$ROOT" && cargo build --release --quiet)
  fi
  # Ended by clean_up, as a gateway is; its gateways end with it.
  PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$ROOT/loadtest/compare "$PYTHON" "$ROOT/loadtest/measure/$case.py" \
    --gateway "${GATEWAY:-$TARGET/release/tidegate}" --load "$LOAD" --scratch "$SCRATCH" --out "$OUT" --name "$NAME" \
    --about "{$(machine_members)}" --server-cpus "$SERVER_CPUS" --load-cpus "$LOAD_CPUS" "$@" &
  GATEWAY_PID=$!
  wait "$GATEWAY_PID" || status=$?
  GATEWAY_PID=
  return "$status"
}

# The machine and the moment, as members of a JSON object.
machine_members() {
  local cpu
  cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
  printf '"date":"%s","machine":"%s, %s processors, Linux %s","load_average_before":%s,"server_cpus":"%s","load_cpus":"%s","workers":"%s","gateway":"%s"' \
    "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "${cpu:-$(uname -m)}" "$(nproc)" "$(uname -r)" "$LOAD_BEFORE" \
    "${SERVER_CPUS:-any}" "${LOAD_CPUS:-any}" "${WORKERS:-one per processor}" \
    "$(gateway --version) $(git -C "$ROOT" rev-parse --short HEAD 2>/dev/null || echo unknown)${GATEWAY:+, a binary that was given}"
}

# The machine and the moment, as a line of Markdown.
machine_line() {
  machine_members | sed -e 's/"date":"\([^"]*\)","machine":"\([^"]*\)","load_average_before":\([^,]*\),"server_cpus":"\([^"]*\)","load_cpus":"\([^"]*\)","workers":"\([^"]*\)","gateway":"\([^"]*\)"/\7, \1; \2; load average before: \3; server on processors: \4; load on processors: \5; workers: \6/'
}

LOAD_BEFORE=$(cut -d ' ' -f 1 /proc/loadavg)

# run_k6 MODEL RATE DURATION RESULT OPTION…: k6 with loadtest/k6.js; fails if any request or check failed.
run_k6() {
  local model=$1 rate=$2 duration=$3 result=$4
  shift 4
  (on_cpus "${LOAD_CPUS:-}" "$K6" run --quiet --no-usage-report --address '' "$@" \
    -e "URL=http://$HTTP/v2/models/$model/infer" -e "ROWS=$ROOT/models/$model/heldout.csv" \
    -e "RATE=$rate" -e "DURATION=$duration" -e "BATCH=${BATCH:-1}" -e "RESULT=$result" "$ROOT/loadtest/k6.js")
}

# k6_value FILE NAME: a number of the summary that k6.js writes.
k6_value() {
  awk -v name="\"$2\":" '$1 == name { gsub(/,/, "", $2); print $2; exit }' "$1"
}

# k6_row CASE FILE: a line of the table below.
k6_row() {
  printf '| %s | %.0f | %s | %s | %s | %s | %.3f | %.3f | %.3f |\n' "$1" "$(k6_value "$2" requests_per_second)" \
    "$(k6_value "$2" requests)" "$(k6_value "$2" failed)" "$(k6_value "$2" checks_failed)" \
    "$(k6_value "$2" dropped_arrivals)" "$(k6_value "$2" p50)" "$(k6_value "$2" p99)" "$(k6_value "$2" max)"
}

k6_table_head() {
  printf '| case | requests/s | requests | failed | checks failed | arrivals not made | p50 ms | p99 ms | max ms |\n'
  printf '|---|---|---|---|---|---|---|---|---|\n'
}
