#!/usr/bin/env bash
# What copies of requests cost those who are served: throughput and p99 of the stable version with a version that answers
# copies, with one that cannot keep up, and with one that fails at three of ten, over those without copies, in paired blocks
# of one process. About nine minutes:
#
#   loadtest/shadow.sh
#   PAIRS=4 loadtest/shadow.sh
#
# Fails if an answer is not the stable version's, or if copies were not compared, dropped or failed as they must. Whether the
# ratios are within noise is in the result and no failure.
#
# Settings (environment): PAIRS (20) for each of the three, SECONDS_PER_BLOCK (2, twice for each block), SHARE of requests
# that are copied in percent (100), SHARE_OF_PEAK of the open loop (0.5), ENGINE_FLAGS (ONNX Runtime of the Python
# environment; empty: the embedded engine), SERVER_CPUS (0), LOAD_CPUS (1), GATEWAY, LOAD (binaries to take instead of
# building), PYTHON with the packages of models/requirements.txt, NAME (shadow), OUT (loadtest/results).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${NAME:-shadow}
make_scratch
need_python
measure shadow --engine-flags="${ENGINE_FLAGS---onnxruntime $(onnxruntime_library)}" --pairs "${PAIRS:-20}" \
  --block "${SECONDS_PER_BLOCK:-2}" --share "${SHARE:-100}" --share-of-peak "${SHARE_OF_PEAK:-0.5}"
