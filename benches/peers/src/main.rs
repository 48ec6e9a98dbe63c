//! What requests and tokens cost, in this crate and in its peers.
//!
//! ```text
//! scripts/bench.sh peers
//! ```
//!
//! `ROUNDS=10` makes it short.

use peers::alternate::{nanoseconds, rounds};
use peers::cases::*;
use peers::tables::{Figures, header, heading, ratio, row, title};

fn main() {
    let mut cases = all();
    let times = nanoseconds(&mut cases, rounds());
    for (case, time) in cases.iter().zip(&times) {
        eprintln!("{}: {time:.0} ns", case.name);
    }
    let times = Figures::new(&cases, times);
    let time = |algorithm: &str, name: &str| times.of(algorithm, name);
    let added =
        |algorithm: &str, name: &str, bare: &str| Some(time(algorithm, name)? - time(algorithm, bare)?);

    heading();

    title("Added to a request, as a share of what a layer over `jsonwebtoken::decode` adds");
    println!("Less than 1 is less than that layer adds to the same request. What a service takes without");
    println!(
        "authentication is taken off. `axum-jwt-auth` is an extractor: it is compared with its own handler.\n"
    );
    header();
    for (name, bare) in ACCEPTED {
        row(name, |algorithm| Some(ratio(added(algorithm, name, bare)? / added(algorithm, DECODE, BARE)?)));
    }

    title("Refused requests");
    println!("The whole time of a request, to that of the bare service, which answers it.\n");
    header();
    for name in REFUSED {
        row(name, |algorithm| Some(ratio(time(algorithm, name)? / time(algorithm, BARE)?)));
    }
    row("this crate, unknown key, to a new token of HS256", |algorithm| {
        Some(ratio(time(algorithm, UNKNOWN_KID)? / time("HS256", NEW)?))
    });

    title("One new token, without a layer");
    println!(
        "First to `jsonwebtoken::decode`; then what is left when the bare signature check is taken off.\n"
    );
    header();
    for name in [VERIFY_NEW, VERIFY_REPEATED, SIGNATURE] {
        row(name, |algorithm| Some(ratio(time(algorithm, name)? / time(algorithm, DECODE_ALONE)?)));
    }
    for name in [VERIFY_NEW, DECODE_ALONE] {
        row(&format!("{name}, less the signature, µs"), |algorithm| {
            Some(format!("{:.2}", added(algorithm, name, SIGNATURE)? / 1000.0))
        });
    }
}
