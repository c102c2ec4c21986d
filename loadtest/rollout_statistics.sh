#!/usr/bin/env bash
# What the README says of rollouts: how often a version that is as good is rolled back, by tidegate and by rules with
# thresholds on the same traffic, and how many requests of the canary find a bad one. Half an hour on two cores.
# The same tests run small with `cargo test`. PROFILE=--release is faster to run and slower to build.
set -euo pipefail
cd "$(dirname "$0")/.."
out="${OUT:-loadtest/results}"
mkdir -p "$out"
{
  printf '# Rollouts: what judging promises, by simulation\n\n'
  printf 'By `loadtest/rollout_statistics.sh` on %s, %s; seeds are in the tests.\n\n```text\n' \
    "$(date -u +%Y-%m-%d)" "$(rustc --version)"
} > "$out/rollout_statistics.md"
# shellcheck disable=SC2086
TIDEGATE_LONG=1 cargo test ${PROFILE:-} --locked --lib -- --nocapture --test-threads=1 rollout::judging rollout::question 2>&1 |
  grep -E '\||^(false|steps|baking|after| +[a-z]+).*e-|missed|test result|panicked' | sed 's/^test .* \.\.\. //' |
  tee -a "$out/rollout_statistics.md"
printf '```\n' >> "$out/rollout_statistics.md"
