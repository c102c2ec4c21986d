#!/usr/bin/env bash
# What monitoring costs: requests a second and processor time with it over those without, switched in one process over many
# paired blocks, each ratio with a 95 % interval; and instructions a request, counted by callgrind.
#
#   loadtest/monitoring.sh
#   PAIRS=10 CALLGRIND=0 loadtest/monitoring.sh
#
# Fails if an answer is wrong or if monitoring was not switched. Whether the ratio is within its limit is in the result, and
# so is what could not be counted.
#
# Settings (environment): PAIRS (60), SECONDS_PER_BLOCK (0.5), CALLGRIND (1; 0 leaves instructions out), ENGINE_FLAGS (ONNX
# Runtime of the Python environment), SERVER_CPUS (0), LOAD_CPUS (1), GATEWAY, LOAD (binaries to take instead of
# building), PYTHON with the package onnxruntime, NAME (monitoring), OUT (loadtest/results). Valgrind is installed by apt
# where it is missing.
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${NAME:-monitoring}
CALLGRIND=${CALLGRIND:-1}
if [[ $CALLGRIND != 0 ]] && ! command -v valgrind >/dev/null; then
  say "installing valgrind"
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends valgrind >/dev/null
fi
make_scratch
need_python
measure monitoring --engine-flags="${ENGINE_FLAGS---onnxruntime $(onnxruntime_library)}" --pairs "${PAIRS:-60}" \
  --block "${SECONDS_PER_BLOCK:-0.5}" --callgrind "$CALLGRIND"
