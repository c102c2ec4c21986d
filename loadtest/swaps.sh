#!/usr/bin/env bash
# A thousand version swaps under open-loop load at 80 % of the peak, every answer checked against the version that it
# names: failed and mixed answers, latency after a swap and while a version is loaded, memory, cost. About 21 minutes:
#
#   loadtest/swaps.sh
#   SWAPS=40 MEASURED=8 loadtest/swaps.sh
#
# First the peak, in a closed loop of 16 connections. Then the open loop for the whole time, in rounds: swaps every
# FAST_GAP, 2 s to settle, QUIET seconds, one swap that is measured, 2 s. Two trained models take turns, each version
# with a manifest and renamed into place; what goes out of service is unloaded a second later, under load.
#
# Fails if an answer is not 200 with the numbers of the version that it names, if a version answers after a newer one
# had, or if a version never answers. What misses its limit is in the result and no failure.
#
# Settings (environment): SWAPS (1000), MEASURED of them (60), FAST_GAP in seconds (0.9), QUIET seconds (2),
# PEAK_SECONDS (5), SHARE of the peak (0.8), ENGINE_FLAGS (ONNX Runtime of the Python environment; empty: the embedded
# engine), SERVER_CPUS (0), LOAD_CPUS (1), GATEWAY, LOAD (binaries to take instead of building), PYTHON with the
# packages of models/requirements.txt, NAME (swaps), OUT (loadtest/results).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${NAME:-swaps}
make_scratch
need_python
measure swaps --engine-flags="${ENGINE_FLAGS---onnxruntime $(onnxruntime_library)}" --swaps "${SWAPS:-1000}" \
  --measured "${MEASURED:-60}" --fast-gap "${FAST_GAP:-0.9}" --quiet "${QUIET:-2}" \
  --peak-seconds "${PEAK_SECONDS:-5}" --share "${SHARE:-0.8}"
