#!/usr/bin/env bash
# Changes `token` and `session` in all the small ways that cargo-mutants knows, and tells which changes no test notices.
#
#     scripts/mutants.sh                    # all: an hour or more
#     scripts/mutants.sh --shard 0/8        # or whatever else cargo-mutants takes
#     scripts/mutants.sh --again            # those that survived, against the tests of the whole crate: half a minute each
#
# The two decisions of floor 1 know nothing above them (tests/floors.rs), so they are built as a crate of their own, with
# their unit tests and those tests of `tests` that ask for no more: seconds a mutant, where the whole crate takes minutes.
# What survives here may still be noticed by the others, which `--again` asks. Properties are tried with fewer cases than
# in `cargo test`, and tests that take as long as all others, or need all cases, are left out.
#
# What survives both, and why no test is to notice it:
#
# | mutant | why |
# |---|---|
# | `expecting` of a `Visitor` | a word of an error of serde, which is told without it |
# | `Debug` of `Crypto` and `Prepared` | a word |
# | `Verifier::max_token_bytes` of 1 | of 0 it is noticed, by a test of the layer that waits in vain |
# | `Drop` of `RefreshToken` | that memory is wiped cannot be seen without `unsafe` |
# | `TOKEN_BYTES` | how much room a text is given at first |
# | `is_roca`: `%` and `*` | the same number modulo the prime, or more divisors tried than needed |
# | `TokenCache::insert` with `>=` | a memory of no bytes instead of none |
# | `PartialEq` of the cache's `Text` | asked only of two tokens with one hash |
# | the guard of `Confirmation::Thumbprint` | a `jkt` that is no thumbprint is refused a step later, as bound to no key |
# | `recall`: whether an expired token is let go | the answer is the same; the memory lets it go by itself |
# | `text_bytes` | how much an entry is said to weigh: the bound of the memory is of that size |
# | `is_aws_lc`, and where it is asked | the other way to verify gives the same answers, which `prepared_key` tests |
# | `is_on_curve`, `prepared_key::imp`, `MAX_RSA_BITS == 4096`, `is_rsa` | not compiled here; `scripts/backends.sh` |
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
[[ $target = /* ]] || target=$PWD/$target
crate=$target/mutants/crate
unset CARGO_TARGET_DIR
export CARGO_INCREMENTAL=1

tests=(decode_oracle jwk_refused key_rotation key_sets keys keys_refused several_issuers signatures token_requirements
  tokens verified_cache)

# Those of the others that are about floors 0 and 1 from above.
above=(bearer_layer dpop_layer live_sessions providers remote_jwks remote_jwks_oidc)

if [[ ${1:-} = --again ]]; then
  # What cargo-mutants found last, or what is named: files with a mutant a line.
  lists=("${@:2}")
  ((${#lists[@]})) || lists=("$target/mutants/mutants.out/missed.txt")
  names=$(sed 's/[][\\.*^$+?(){}|]/\\&/g' "${lists[@]}" | paste -sd'|')
  [[ -n $names ]] || { echo 'mutants: none has survived'; exit; }
  whole=$target/mutants/whole
  rm -rf "$whole"
  git clone --quiet . "$whole"
  cd "$whole"
  CARGO_TARGET_DIR=$target/mutants/whole-target exec cargo mutants --no-config --in-place --output ../again --colors never \
    --timeout 300 --all-features --file 'src/session/**' --file 'src/token/**' --exclude '**/tests.rs' --re "^($names)$" \
    "${above[@]/#/--cargo-arg=--test=}"
fi

slow=(a_key_of_both_sets_is_never_missed no_token_is_refused_under_load every_live_token_is_good_everywhere
  a_token_that_is_signed_is_never_too_long a_lifetime_with_a_fraction_makes_tokens
  several_accept_what_one_of_them_accepts_alone)

rm -rf "$crate/src" "$crate/tests"
mkdir -p "$crate/src/test_util" "$crate/tests/all/support"
cp -r src/{clock,error,secret,thumbprint,url}.rs src/token src/session "$crate/src/"
cp src/test_util/clock.rs "$crate/src/test_util/"
cp -r tests/fixtures "$crate/tests/"
cp Cargo.lock "$crate/"

cat >"$crate/src/lib.rs" <<'END'
#![allow(dead_code, unused)]
mod clock;
mod error;
mod secret;
pub mod session;
pub mod test_util {
    mod clock;
    pub use clock::ManualClock;
}
mod thumbprint;
pub mod token;
mod url;
pub use clock::{Clock, SystemClock, Timestamp};
pub use error::{ConfigError, ConfigErrorKind};
pub use session::*;
pub use thumbprint::{ParseThumbprintError, Thumbprint};
pub use token::*;
END

{
  cat <<'END'
[package]
name = "tower-jwt-auth"
version = "0.0.0"
edition = "2024"

[workspace]

[features]
default = ["aws-lc-rs"]
aws-lc-rs = ["jsonwebtoken/aws_lc_rs", "dep:aws-lc-rs"]

[lints.rust]
unexpected_cfgs = "allow"

[profile.dev]
debug = false

[profile.dev.package."*"]
opt-level = 2

END
  needed='arc-swap|aws-lc-rs|base64|bytes|form_urlencoded|getrandom|hmac|http|jsonwebtoken|pem|pkcs1|pkcs8|quick_cache'
  needed+='|sec1|secrecy|serde|serde_json|sha2|subtle|tracing|zeroize'
  echo '[dependencies]'
  sed -n '/^\[dependencies\]/,/^\[dev-dependencies\]/p' Cargo.toml | grep -E "^($needed) = "
  echo '[dev-dependencies]'
  sed -n '/^\[dev-dependencies\]/,/^\[\[/p' Cargo.toml | grep -E '^(proptest|tracing-subscriber) = '
} >"$crate/Cargo.toml"

cp tests/support/{tokens,events}.rs "$crate/tests/all/support/"
{
  echo '#![allow(clippy::all, unused)]'
  echo 'pub mod events; pub mod tokens; pub use tower_jwt_auth::test_util::ManualClock; use std::time::Duration;'
  grep -E '^pub const (SECOND|MINUTE|HOUR|DAY)' tests/support/mod.rs
} >"$crate/tests/all/support/mod.rs"
cp tests/support/oracles.rs "$crate/tests/all/oracles.rs"
cp tests/support/keys.rs "$crate/tests/all/key_files.rs"
printf '#![allow(unused)]\nmod key_files;\nmod oracles;\nmod support;\n' >"$crate/tests/all/main.rs"
for test in "${tests[@]}"; do
  sed -E -e 's|^mod support;|use crate::support;|' -e '/^#\[path = "support\//d' \
    -e 's|^mod oracles;|use crate::oracles;|' -e 's|^mod fixtures;|use crate::key_files as fixtures;|' \
    -e 's|(cases\()[0-9]+\)|\150)|' -e 's|(cases: )[0-9]{2,}|\150|' \
    -e 's|(include_(str\|bytes)!\(")|\1../|' "tests/$test.rs" >"$crate/tests/all/$test.rs"
  echo "mod $test;" >>"$crate/tests/all/main.rs"
done

# In a place of its own: cargo-mutants asks git for the files that it may copy.
[[ -d $crate/.git ]] || git -C "$crate" init --quiet
echo target >"$crate/.gitignore"
cd "$crate"
[[ ${1:-} != --test ]] || exec cargo test --quiet "${@:2}"
skip=()
for test in "${slow[@]}"; do skip+=(--skip "$test"); done
exec cargo mutants --no-config --in-place --output .. --colors never --timeout 120 \
  --file 'src/session/**' --file 'src/token/**' --exclude '**/tests.rs' "$@" -- --lib --test all -- "${skip[@]}"
