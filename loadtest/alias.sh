#!/usr/bin/env bash
# How long an alias move takes, from the replacement of `aliases.json` to the first answer of the new version, for a
# model of ten megabytes in a directory: with a signed webhook after each move, and with every webhook dropped. On both
# engines:
#
#   loadtest/alias.sh
#   MOVES=5 DROPPED=3 loadtest/alias.sh
#
# Every version has bytes of its own, so that each move is fetched, proved and loaded. Requests come in an open loop
# beside, one every 5 ms: the first that the new version answers ends a move.
#
# Fails if an answer is not 200 with the numbers of the version that it names, if a delivery is not acknowledged with
# 202, or if a version never answers. What misses its limit is in the result and no failure: p50 under 1 s with
# webhooks; without, all within the poll interval and a second.
#
# Settings (environment): MOVES with webhooks (50), DROPPED moves without (10), POLL interval for the latter, seconds
# (2, at least 1), RATE of requests/s (200), ENGINE_FLAGS (ONNX Runtime of the Python environment; empty: the embedded
# engine alone), SERVER_CPUS (0), LOAD_CPUS (1), GATEWAY, LOAD (binaries to take instead of building), PYTHON with the
# packages of models/requirements.txt, NAME (alias), OUT (loadtest/results).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${NAME:-alias}
make_scratch
need_python
measure alias --engine-flags="${ENGINE_FLAGS---onnxruntime $(onnxruntime_library)}" --moves "${MOVES:-50}" \
  --dropped "${DROPPED:-10}" --poll "${POLL:-2}" --rate "${RATE:-200}"
