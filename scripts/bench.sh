#!/usr/bin/env bash
# Measures what things cost, as ratios to floors of the same run. Only on a machine that does nothing else.
#
#   scripts/bench.sh layer         what the bearer layer adds to a request, by criterion, and its allocations
#   scripts/bench.sh verify        one token: new, repeated, on two threads
#   scripts/bench.sh live          what the live sessions layer adds, and what a session weighs in its memory
#   scripts/bench.sh dpop          what a proof of possession adds, to one check of its signature
#   scripts/bench.sh instructions  what the bearer layer adds, by the instructions that valgrind counts
#   scripts/bench.sh peers         the layer beside other crates, and beside one written over jsonwebtoken; ROUNDS=60
#   scripts/bench.sh answers       what each of them answers to requests with a fault: no times
#   scripts/bench.sh allocations   the same cases by their allocations
#   scripts/bench.sh scale         many tokens, long ones, threads, memory, a flood
#   scripts/bench.sh caches        the caches that could hold verified tokens
#   scripts/bench.sh e2e           requests a second over loopback, axum and express; benches/peers/end_to_end.py lists
#                                  the variables that change it. Brings its parts along
#   scripts/bench.sh page          all of these but the first two, into benches/README.md: half an hour
#   scripts/bench.sh               a rotation in each store; with `bytes`, what a session weighs. benches/rotate/main.rs
#                                  lists the variables that change it. Needs redis-server and postgres: scripts/parts.sh
#                                  brings them
#
# Whatever follows `layer` or `verify` chooses benchmarks by their names.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
[[ $target = /* ]] || target=$PWD/$target

# The peers are a package of their own.
peers() {
  CARGO_TARGET_DIR=$target/peers cargo run --quiet --release --manifest-path benches/peers/Cargo.toml --bin "$1"
}

instructions() {
  PARTS=instructions source scripts/parts.sh
  local algorithms=(HS256 RS256 PS256 ES256 EdDSA) name algorithm bare
  local program
  program=$(cargo bench --no-run --bench layer --message-format json 2>/dev/null |
    sed -n 's/.*"name":"layer".*"executable":"\([^"]*\)".*/\1/p')
  # Of a thousand requests: what comes before the first is taken off.
  counted() {
    CASE=$1 COUNT=$2 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" 2>&1 |
      sed -n 's/.*Collected : //p'
  }
  each() { echo $((($(counted "$1" 1100) - $(counted "$1" 100)) / 1000)); }
  declare -A bare
  for algorithm in "${algorithms[@]}"; do bare[$algorithm]=$(each "$algorithm/bare"); done
  echo "| |$(printf ' %s |' "${algorithms[@]}")"
  echo "| --- |$(printf ' ---: |%.0s' "${algorithms[@]}")"
  for name in repeated new 'no token' 'wrong scheme' oversize 'bad alphabet' 'unknown kid'; do
    printf '| %s |' "$name"
    for algorithm in "${algorithms[@]}"; do
      printf ' %d |' $(($(each "$algorithm/$name") - bare[$algorithm]))
    done
    echo
  done
}

e2e() {
  PARTS=e2e source scripts/parts.sh
  python3 benches/peers/end_to_end.py
}

page() {
  local file=benches/README.md text
  text=$(
    cat <<'END'
# What a request costs

Written by `scripts/bench.sh page` in one go. Each table is of one run, in which all of its cases took turns; a number is
a ratio to another of that run, unless it says what it counts. How to read a case is in the source that is named above it.

END
    echo "## Beside other crates"
    printf '\n`scripts/bench.sh peers`, benches/peers/src/cases.rs\n\n'
    peers peers 2>/dev/null
    peers allocations 2>/dev/null
    printf '\n### Instructions added to a request\n\n'
    echo '`scripts/bench.sh instructions`, benches/support/layer.rs. Of this crate, as valgrind counts them, which runs'
    printf 'the signatures without the instructions that a processor has for them.\n\n'
    instructions
    printf '\n## End to end\n\n`scripts/bench.sh e2e`, benches/peers/end_to_end.py\n\n'
    e2e 2>"$target/e2e.txt"
    printf '\n## Many tokens\n\n`scripts/bench.sh scale`, benches/peers/src/bin/scale.rs\n'
    peers scale 2>/dev/null
    printf '\n## Live sessions\n\n`scripts/bench.sh live`, benches/live.rs\n\n'
    cargo bench --quiet --bench live 2>/dev/null
    printf '\n## Proofs of possession\n\n`scripts/bench.sh dpop`, benches/dpop.rs\n\n'
    cargo bench --quiet --bench dpop 2>/dev/null
    printf '\n## The cache\n\n`scripts/bench.sh caches`, benches/peers/src/bin/caches.rs\n\n'
    peers caches 2>/dev/null
  )
  printf '%s\n' "$text" >$file
  echo "written to $file"
}

case ${1:-} in
  live | dpop) cargo bench --quiet --bench "$1" ;;
  layer | verify) cargo bench --quiet --bench "$1" -- "${@:2}" ;;
  peers | answers | allocations | scale | caches) peers "$1" ;;
  instructions | e2e | page) "$1" ;;
  *) cargo bench --quiet --features redis,postgres --bench rotate -- "$@" ;;
esac
