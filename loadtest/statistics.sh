#!/usr/bin/env bash
# What the README says of alarms: false pages, rows until a change is found, intervals that cover, agreement with
# Evidently. Draws as much as published figures need: some hours on one core, half of that on two.
# The same tests run small with `cargo test`. A filter can be given: loadtest/statistics.sh detection
set -euo pipefail
cd "$(dirname "$0")/.."
out="${OUT:-loadtest/results}"
mkdir -p "$out"
{
  printf '# Alarms: what they promise, by simulation\n\n'
  printf 'By `loadtest/statistics.sh %s` on %s, %s.\n\n```text\n' "$*" "$(date -u +%Y-%m-%d)" "$(rustc --version)"
} > "$out/statistics.md"
TIDEGATE_LONG=1 cargo test --release --locked --test statistics -- --nocapture --test-threads=1 "$@" 2>&1 |
  grep -E '^\||^  page|^test |test result|panicked' | tee -a "$out/statistics.md"
TIDEGATE_LONG=1 cargo test --release --locked --lib -- --nocapture detect::tests::coverage detect::tests::two_arm 2>&1 |
  grep -E '^\||%|test result' | tee -a "$out/statistics.md"
printf '```\n' >> "$out/statistics.md"
