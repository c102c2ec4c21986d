#!/usr/bin/env bash
# What a rollout costs those who are served: requests a second and processor time while a trial counts over those without,
# switched in one process over many paired blocks, each ratio with a 95 % interval.
#
#   loadtest/rollout_cost.sh                   # about eight minutes
#   PAIRS=10 loadtest/rollout_cost.sh          # two
#
# Fails if an answer is wrong, or if a rollout was not switched, ended by itself or counted nothing.
#
# Settings (environment): PAIRS (40), SECONDS_PER_BLOCK (0.5), ENGINE_FLAGS (ONNX Runtime of the Python environment),
# SERVER_CPUS (0), LOAD_CPUS (1), GATEWAY, LOAD (binaries to take instead of building), PYTHON with the package onnxruntime,
# NAME (rollout_cost), OUT (loadtest/results).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${NAME:-rollout_cost}
make_scratch
need_python
measure rollout_cost --engine-flags="${ENGINE_FLAGS---onnxruntime $(onnxruntime_library)}" --pairs "${PAIRS:-40}" \
  --block "${SECONDS_PER_BLOCK:-0.5}"
