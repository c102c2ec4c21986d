#!/usr/bin/env bash
# tidegate beside other model servers and beside a reference that does nothing else: same model, same rows, same core.
#
#   loadtest/compare.sh
#   PEERS=fastapi,mlserver ROUNDS=2 SECONDS_PER_RUN=1 loadtest/compare.sh
#
# Installs each peer into a Python environment of its own below target/ (once; some minutes), builds the gateway, the
# reference and the load generator in release mode, starts them all on one processor and loads one after the other from
# another, round by round. Every answer is checked. See compare/compare.py for how, compare/peers.toml for the peers.
#
# Fails, after everything else has been done, if a peer could not be installed or started or gave a wrong answer; the
# results name it and the reason.
#
# Settings (environment): PEERS (all of peers.toml; empty: none), ROUNDS (5), SECONDS_PER_RUN (4), BATCHES (1,64),
# CONNECTIONS (16), SERVER_CPUS (0) and LOAD_CPUS (1), PYTHON 3.11 or later (python3), GATEWAY, REFERENCE and LOAD
# (binaries to take instead of building), ENVIRONMENTS (target/compare), NAME of the result (compare), OUT
# (loadtest/results).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

HERE=$ROOT/loadtest/compare
ALL_PEERS=$(sed -n 's/^\[\([a-z0-9]*\)\]$/\1/p' "$HERE/peers.toml" | paste -s -d ,)
PEERS=${PEERS-$ALL_PEERS}
ROUNDS=${ROUNDS:-5}
SECONDS_PER_RUN=${SECONDS_PER_RUN:-4}
BATCHES=${BATCHES:-1,64}
CONNECTIONS=${CONNECTIONS:-16}
SERVER_CPUS=${SERVER_CPUS:-0}
LOAD_CPUS=${LOAD_CPUS:-1}
WORKERS=1
PYTHON=${PYTHON:-python3}
ENVIRONMENTS=${ENVIRONMENTS:-$ROOT/target/compare}
NAME=${NAME:-compare}

# need_environment NAME: an environment with the packages of requirements-NAME.txt; made again when that file changes.
# The stamp in it is that file, put there last.
need_environment() {
  local name=$1
  local wanted=$HERE/requirements-$name.txt folder=$ENVIRONMENTS/$name
  if cmp --silent "$wanted" "$folder/installed"; then
    return
  fi
  say "installing $name into $folder"
  rm -rf "$folder"
  mkdir -p "$ENVIRONMENTS"
  {
    "$PYTHON" -m venv "$folder" &&
      "$folder/bin/python" -m pip install --disable-pip-version-check --quiet --requirement "$wanted" &&
      cp "$wanted" "$folder/installed"
  } >"$folder.log" 2>&1
}

build() {
  (cd "$ROOT" && cargo build --release --quiet --locked "$@")
}

make_scratch
need_environment base || { cat "$ENVIRONMENTS/base.log" >&2; fail "ONNX Runtime could not be installed"; }
for peer in ${PEERS//,/ }; do
  need_environment "$peer" || say "could not install $peer; see $ENVIRONMENTS/$peer.log"
done
libraries=("$ENVIRONMENTS"/base/lib/python*/site-packages/onnxruntime/capi/libonnxruntime.so.*)

if [[ -z ${GATEWAY:-} ]]; then
  say "building the gateway (release)"
  build
  GATEWAY_BINARY=$TARGET/release/tidegate
fi
if [[ -z ${REFERENCE:-} || -z ${LOAD:-} ]]; then
  say "building the reference and the load generator (release)"
  build --example reference --example load
fi

# Ended by clean_up, as a gateway is; its servers end with it.
"$PYTHON" "$HERE/compare.py" \
  --gateway "${GATEWAY:-$GATEWAY_BINARY}" \
  --reference "${REFERENCE:-$TARGET/release/examples/reference}" \
  --load "${LOAD:-$TARGET/release/examples/load}" \
  --library "${libraries[0]}" --environments "$ENVIRONMENTS" --scratch "$SCRATCH" --out "$OUT" --name "$NAME" \
  --about "{$(machine_members)}" --server-cpus "$SERVER_CPUS" --load-cpus "$LOAD_CPUS" --rounds "$ROUNDS" \
  --seconds "$SECONDS_PER_RUN" --connections "$CONNECTIONS" --batches "$BATCHES" --peers "$PEERS" &
GATEWAY_PID=$!
status=0
wait "$GATEWAY_PID" || status=$?
GATEWAY_PID=
exit "$status"
