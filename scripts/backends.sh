#!/usr/bin/env bash
# Tests the crate where the backends of jsonwebtoken are not those that its own features name: both on, one that the
# program gives, none. Each is a build of its own, as features of one build add up.
set -euo pipefail
cd "$(dirname "$0")/.."

manifest=tests/backends/Cargo.toml
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
[[ $CARGO_TARGET_DIR = /* ]] || CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR
export CARGO_TARGET_DIR=$CARGO_TARGET_DIR/backends

cargo test --quiet --manifest-path "$manifest" --features both --test both
cargo test --quiet --manifest-path "$manifest" --features given --test given
cargo test --quiet --manifest-path "$manifest" --test none
