#!/usr/bin/env bash
# Measures what things cost, as ratios to floors of the same run.
#
#   scripts/bench.sh layer     what the bearer layer adds to a request, and its allocations
#   scripts/bench.sh verify    one token: new, repeated, on two threads
#   scripts/bench.sh           a rotation in each store; with `bytes`, what a session weighs. benches/rotate/main.rs lists
#                              the variables that change it. Needs redis-server and postgres: scripts/parts.sh brings them
#
# Whatever follows `layer` or `verify` chooses benchmarks by their names.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  layer | verify) cargo bench --quiet --bench "$1" -- "${@:2}" ;;
  *) cargo bench --quiet --features redis,postgres --bench rotate -- "$@" ;;
esac
