#!/usr/bin/env bash
# How soon a version that turns bad has no traffic any more: from the reply that decided, and from the first bad answer, to
# the last request that it got, in every state of a rollout, and with a disk that is full:
#
#   loadtest/rollouts.sh                       # about eight minutes
#   ROUNDS=2 loadtest/rollouts.sh              # four
#
# Models are those of tests/python/rollout_models.py, on ONNX Runtime. Each round rolls out new bytes; traffic is calm
# until the state is reached, and then of rows that the new version cannot answer: every fifth is NaN, or fails; while
# promoting, which is short, every one.
#
# Fails if a rollout does not come to the state, is not rolled back, or was not decided in the state. What misses its limit,
# 250 ms from the reply that decided, is in the result and no failure.
#
# Settings (environment): ROUNDS (5), SENDERS (2), STATES ("canary,paused,promoting,baking,full disk"), BESIDES (0; so many
# other models are loaded and watched), SERVER_CPUS (0), LOAD_CPUS (1), GATEWAY, LOAD (binaries to take instead of building),
# PYTHON with the packages of models/requirements.txt, NAME (rollouts), OUT (loadtest/results). The full disk is a small one
# in a name space of its own (unshare -m), which needs the right to mount.
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${NAME:-rollouts}
make_scratch
need_python
measure rollouts --engine-flags="--onnxruntime $(onnxruntime_library)" --rounds "${ROUNDS:-5}" --senders "${SENDERS:-2}" \
  --states "${STATES:-canary,paused,promoting,baking,full disk}" --besides "${BESIDES:-0}"
