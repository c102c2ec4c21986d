#!/usr/bin/env bash
# Slow, greedy, rude and many clients, and what ordinary ones notice: slow heads, half-sent bodies, answers that are not
# read, bodies over the limit with and without Content-Length, pipelined and kept-alive connections, 10,000 idle ones.
#
#   loadtest/clients.sh
#   ROUNDS=1 SECONDS_PER_RUN=1 IDLE=1000 loadtest/clients.sh
#
# While each goes on, a load of ordinary requests runs and is compared with itself alone, before and after. Resident memory
# is looked at before, while, and after.
#
# Fails if an ordinary request fails, if a client is not met as promised (408, 413, closed by the time-out of that name,
# answered rightly and in order), if memory goes beyond what measure/clients.py states, or still grows after some waves of
# connections that come and go.
#
# Settings (environment): ROUNDS (2), SECONDS_PER_RUN of the load (3; at most 5, since idle connections last 10), RATE of the
# load in requests/s (500), IDLE connections (10000), CASES by their names in measure/clients.py (all), ENGINE_FLAGS (ONNX Runtime of the Python environment), SERVER_CPUS
# (0), LOAD_CPUS (1), GATEWAY, LOAD (binaries to take instead of building), PYTHON with the package onnxruntime, NAME
# (clients), OUT (loadtest/results).
set -euo pipefail
# shellcheck source=loadtest/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${NAME:-clients}
make_scratch
need_python
measure clients --engine-flags="${ENGINE_FLAGS---onnxruntime $(onnxruntime_library)}" --rounds "${ROUNDS:-2}" \
  --seconds "${SECONDS_PER_RUN:-3}" --rate "${RATE:-500}" --idle "${IDLE:-10000}" --cases "${CASES:-}"
