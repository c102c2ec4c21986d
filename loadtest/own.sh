#!/usr/bin/env bash
# How long a request is in tidegate's own code, by phase, as the gateway itself measures it: one processor for the server,
# one for the load, ONNX Runtime, everything monitored.
#
#   loadtest/own.sh
#   ROUNDS=1 SECONDS_PER_RUN=2 loadtest/own.sh
#
# Fails if an answer is wrong or a request was not timed. Whether the limits of measure/own.py are kept is in the result.
#
# Settings (environment): ROUNDS (3), SECONDS_PER_RUN (8), RATE of the open loop in requests/s (5000), ENGINE_FLAGS (ONNX
# Runtime of the Python environment), SERVER_CPUS (0), LOAD_CPUS (1), GATEWAY, LOAD (binaries to take instead of
# building), PYTHON with the package onnxruntime, NAME (own), OUT (loadtest/results).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${NAME:-own}
make_scratch
need_python
measure own --engine-flags="${ENGINE_FLAGS---onnxruntime $(onnxruntime_library)}" --rounds "${ROUNDS:-3}" \
  --seconds "${SECONDS_PER_RUN:-8}" --rate "${RATE:-5000}"
