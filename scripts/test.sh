#!/usr/bin/env bash
# All tests and checks that must hold on every commit. On a fresh Debian machine with Rust and a C compiler it
# installs what else is needed (see scripts/parts.sh). Prints the seconds of each stage.
set -euo pipefail
cd "$(dirname "$0")/.."

# A part that is missing fails a test, instead of making it say SKIPPED.
export REQUIRE_PARTS=1
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}

# Beside the default ones.
all=redis,postgres,axum,metrics,client,reqwest,jwks-hyper

report=""
stage() {
  local name=$1 start=$SECONDS
  shift
  echo "==> $name"
  "$@"
  report+=$(printf '%5d s  %s' $((SECONDS - start)) "$name")$'\n'
}

parts() { source scripts/parts.sh; }

# Every pair of features, without a backend and with both: whatever two features do to each other is seen here. The two
# halves run beside each other, as one check keeps one processor busy.
features() {
  local target=${CARGO_TARGET_DIR:-$PWD/target} both=aws-lc-rs,rust-crypto without
  [[ $target = /* ]] || target=$PWD/$target
  local tools=$target/parts/cargo
  PATH=$tools/bin:$PATH
  command -v cargo-hack >/dev/null ||
    CARGO_TARGET_DIR=$tools/build cargo install --quiet --locked --root "$tools" --version 0.6.46 cargo-hack
  CARGO_TARGET_DIR=$target/features pairs --exclude-features "default,$both" &
  without=$!
  pairs --exclude-features default --features "$both" || return
  wait "$without" || return
  cargo clippy --quiet --lib --no-default-features --features moka,aws-lc-rs -- -D warnings
  cargo clippy --quiet --lib --no-default-features --features moka,rust-crypto -- -D warnings
}

# Clippy would take twice as long, and has looked at all features together before.
pairs() {
  local log
  log=$(cargo hack check --quiet --lib --feature-powerset --depth 2 "$@" 2>&1) && ! grep -q '^warning' <<<"$log" || {
    echo "$log"
    return 1
  }
}

# No warning is let through, and items that need a feature are documented, too.
docs() { RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --all-features; }

# What cargo test does for a newcomer, and what all features bring.
lints() {
  cargo clippy --quiet --all-targets -- -D warnings
  cargo clippy --quiet --all-targets --features "$all" -- -D warnings
}

# What would be published compiles by itself.
package() { cargo package --quiet --allow-dirty; }

other_backend() { cargo test --quiet --lib --no-default-features --features moka,rust-crypto; }

# A package of its own, as a user would write it.
sqlite_store() {
  local manifest=examples/sqlite_store/Cargo.toml target=${CARGO_TARGET_DIR:-$PWD/target}
  [[ $target = /* ]] || target=$PWD/$target
  cargo fmt --check --manifest-path "$manifest"
  CARGO_TARGET_DIR=$target/sqlite_store cargo clippy --quiet --all-targets --manifest-path "$manifest" -- -D warnings
  CARGO_TARGET_DIR=$target/sqlite_store cargo test --quiet --manifest-path "$manifest"
}

stage 'parts' parts
stage 'format' cargo fmt --check
stage 'lints' lints
stage 'features' features
stage 'documentation' docs
stage 'package' package
stage 'tests' cargo test --features "$all"
stage 'tests of the default features only' cargo test --quiet --test compile_fail
stage 'tests, rust-crypto' other_backend
stage 'tests, backends of others' scripts/backends.sh
stage 'tests, a store on SQLite' sqlite_store
stage 'fuzz, 20 seconds a target' scripts/fuzz.sh 20

printf '\n%s%5d s  in all\n' "$report" "$SECONDS"
