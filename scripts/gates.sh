#!/usr/bin/env bash
# The slow gates, run by hand before a release; CHANGELOG.md has their results.
#
#     scripts/gates.sh                       # all of them
#     scripts/gates.sh deny unused spelling  # some
#
# | gate | what it asks | settings |
# |---|---|---|
# | deny | licences, sources and bans of the whole tree | deny.toml |
# | unused | dependencies that nothing imports | |
# | spelling | typing errors in code and text | _typos.toml |
# | semver | what changed in the public API since BASELINE, a revision (default: the last tag) | BASELINE |
# | coverage | lines of src that the tests reach | |
# | mutants | changes to `token` and `session` that no test notices (scripts/mutants.sh) | MUTANTS="--shard 0/8" for a part |
# | fuzz | FUZZ_SECONDS (3600) of each target | FUZZ_TARGETS |
#
# Brings its tools along, below target/parts (or CARGO_TARGET_DIR). A gate that fails does not stop the others.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never} REQUIRE_PARTS=1
target=${CARGO_TARGET_DIR:-$PWD/target}
[[ $target = /* ]] || target=$PWD/$target
tools=$target/parts/cargo
export PATH=$tools/bin:$PATH

all=redis,postgres,axum,metrics,client,reqwest,jwks-hyper

# tool NAME VERSION: builds it once.
tool() {
  cargo install --list --root "$tools" | grep -q "^$1 v$2:" && return
  echo "gates: building $1 $2" >&2
  CARGO_TARGET_DIR=$tools/build cargo install --quiet --locked --root "$tools" --version "$2" "$1"
}

gate_deny() {
  tool cargo-deny 0.20.2
  cargo deny check --hide-inclusion-graph bans licenses sources
}

gate_unused() {
  tool cargo-machete 0.9.2
  cargo machete --with-metadata . examples/sqlite_store fuzz tests/backends benches/peers
}

gate_spelling() {
  local venv=$target/parts/typos
  [[ -x $venv/bin/typos ]] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet 'typos==1.*'; }
  "$venv/bin/typos" --format brief
}

gate_semver() {
  tool cargo-semver-checks 0.51.0
  local baseline=${BASELINE:-$(git describe --tags --abbrev=0 2>/dev/null || true)}
  if [[ -z $baseline ]]; then
    echo 'gates: there is no tag yet; say BASELINE=revision' >&2
    return 1
  fi
  cargo semver-checks --baseline-rev "$baseline" --all-features
}

# By instrumented code, as ptrace is often forbidden. Doc tests and programs that tests start are not counted.
gate_coverage() {
  tool cargo-tarpaulin 0.37.5
  source scripts/parts.sh
  CARGO_TARGET_DIR=$target/coverage cargo tarpaulin --engine llvm --skip-clean --features "$all" --tests --timeout 600 \
    --include-files 'src/*' --exclude-files '*/tests.rs' --out Json --output-dir "$target/coverage"
}

gate_mutants() {
  tool cargo-mutants 27.1.0
  # shellcheck disable=SC2086 # MUTANTS holds several words.
  scripts/mutants.sh ${MUTANTS:-}
}

gate_fuzz() {
  # shellcheck disable=SC2086 # several targets are several words.
  scripts/fuzz.sh "${FUZZ_SECONDS:-3600}" ${FUZZ_TARGETS:-}
}

gates=("$@")
((${#gates[@]})) || gates=(deny unused spelling semver coverage mutants fuzz)

report='' failed=0
for gate in "${gates[@]}"; do
  declare -F "gate_$gate" >/dev/null || { echo "gates: no gate is called $gate" >&2; exit 2; }
done
for gate in "${gates[@]}"; do
  echo "==> $gate"
  start=$SECONDS outcome=passed
  # In a subshell with `set -e` of its own: `if` would switch it off.
  set +e
  (set -e; "gate_$gate")
  (($? == 0)) || { outcome=FAILED; failed=1; }
  set -e
  report+=$(printf '%-7s %6d s  %s' "$outcome" $((SECONDS - start)) "$gate")$'\n'
done
printf '\n%s' "$report"
exit "$failed"
