#!/usr/bin/env bash
# Writes request bodies (Open Inference Protocol, JSON) made of a model's held-out rows, one body a line.
#
#   loadtest/bodies.sh MODEL [BATCH [COUNT]] > bodies.ndjson
#
# COUNT bodies (default 1000) of BATCH rows (default 1). Rows are taken one after the other, round and round, so bodies
# differ as much as the rows do.
set -euo pipefail

model=${1:?usage: bodies.sh MODEL [BATCH [COUNT]]}
batch=${2:-1}
count=${3:-1000}
rows=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/models/$model/heldout.csv

awk -F , -v batch="$batch" -v count="$count" '
  NR > 1 { row[NR - 2] = $0; width = NF }
  END {
    next_row = 0
    for (body = 0; body < count; body++) {
      printf "{\"inputs\":[{\"name\":\"features\",\"shape\":[%d,%d],\"datatype\":\"FP32\",\"data\":[", batch, width
      for (i = 0; i < batch; i++) {
        printf "%s%s", (i ? "," : ""), row[next_row]
        next_row = (next_row + 1) % (NR - 1)
      }
      print "]}]}"
    }
  }' "$rows"
