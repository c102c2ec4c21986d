#!/usr/bin/env bash
# How costs grow: 1 to 100 models loaded, 10 to 500 features on both engines at batch 1 and 64, 1 to 256 connections, 10,000
# idle connections besides. Processor time of a request and requests a second, server on one processor, load on another.
#
#   loadtest/growth.sh
#   ROUNDS=1 SECONDS_PER_RUN=0.3 IDLE=1000 loadtest/growth.sh
#
# Fails if an answer is wrong, or if a connection is not accepted.
#
# Settings (environment): ROUNDS (5), SECONDS_PER_RUN (1), IDLE connections (10000), ENGINE_FLAGS (ONNX Runtime of the
# Python environment; empty: the embedded engine alone), SERVER_CPUS (0), LOAD_CPUS (1), GATEWAY, LOAD (binaries to take
# instead of building), PYTHON with the packages onnx and onnxruntime, NAME (growth), OUT (loadtest/results).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${NAME:-growth}
make_scratch
need_python
measure growth --engine-flags="${ENGINE_FLAGS---onnxruntime $(onnxruntime_library)}" --rounds "${ROUNDS:-5}" \
  --seconds "${SECONDS_PER_RUN:-1}" --idle "${IDLE:-10000}"
