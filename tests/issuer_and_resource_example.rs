//! The example `issuer_and_resource`: the signing key is exchanged under load, and no request is refused.

#![cfg(feature = "jwks-hyper")]
// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

#[path = "support/program.rs"]
mod program;

use program::{built, run, skip};

#[test]
fn no_request_is_refused_while_keys_are_exchanged() {
    let example = match built("issuer_and_resource") {
        Ok(example) => example,
        Err(missing) => return skip(&missing),
    };
    let output = run(&example, &[("ROTATIONS", "2")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let last = text.lines().last().unwrap();
    let counts = last.strip_prefix("removed key-1; accepted ").unwrap_or_else(|| panic!("{text}"));
    let (accepted, refused) = counts.split_once(", refused ").unwrap();
    assert_eq!(refused, "0", "{text}");
    assert!(accepted.parse::<u64>().unwrap() > 0, "{text}");
    for line in ["signs with key-1;", "removed key-0;", "signs with key-2;"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
