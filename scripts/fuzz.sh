#!/usr/bin/env bash
# Runs each fuzz target for so many seconds and prints how many inputs it ran.
#
#     scripts/fuzz.sh 20            # all targets, 20 seconds each
#     scripts/fuzz.sh 3600 token    # one target
#
# Fails on a crash, and on a target that ran nothing. Needs a C++ compiler; brings cargo-fuzz along. A stable toolchain
# does: only a sanitizer would ask for nightly, and the crate has no `unsafe` to watch.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: scripts/fuzz.sh SECONDS [TARGET..]}
shift
targets=("$@")
((${#targets[@]})) || targets=(bearer_header token jwk_set refresh_token cookie_header proof)

cargo_fuzz_version=0.13.2
max_len=4096

target_dir=${CARGO_TARGET_DIR:-$PWD/target}
[[ $target_dir = /* ]] || target_dir=$PWD/$target_dir
tools=$target_dir/parts/cargo
fuzz_dir=$target_dir/fuzz

if ! command -v c++ >/dev/null; then
  as_root=
  ((EUID == 0)) || as_root='sudo -n'
  $as_root apt-get update -qq >&2
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ >&2
fi
if ! command -v cargo-fuzz >/dev/null; then
  PATH=$tools/bin:$PATH
  export PATH
  command -v cargo-fuzz >/dev/null ||
    CARGO_TARGET_DIR=$tools/build cargo install --quiet --locked --root "$tools" --version "$cargo_fuzz_version" cargo-fuzz
fi

CARGO_TARGET_DIR=$fuzz_dir cargo fuzz build --sanitizer none

host=$(rustc -vV | sed -n 's/^host: //p')
report=
for target in "${targets[@]}"; do
  # What is found goes below target/. The committed inputs are only read.
  corpus=$fuzz_dir/corpus/$target
  artifacts=$fuzz_dir/artifacts/$target
  log=$fuzz_dir/$target.log
  mkdir -p "$corpus" "$artifacts"
  echo "--- $target"
  if ! "$fuzz_dir/$host/release/$target" -max_total_time="$seconds" -max_len="$max_len" -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$artifacts/" "$corpus" "fuzz/corpus/$target" >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    echo "fuzz: $target failed; the input is in $artifacts" >&2
    exit 1
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  if ! ((runs > 0)); then
    tail -n 20 "$log" >&2
    echo "fuzz: $target ran nothing" >&2
    exit 1
  fi
  report+=$(printf '%10d runs  %s' "$runs" "$target")$'\n'
done
printf '%s' "$report"
