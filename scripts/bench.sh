#!/usr/bin/env bash
# Measures what a rotation costs in each store, as ratios to floors of the same run; with `bytes`, what a session weighs.
# benches/rotate/main.rs lists the variables that change it. Needs redis-server and postgres: scripts/parts.sh brings them.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo bench --quiet --features redis,postgres --bench rotate -- "$@"
