//! The layer of this crate beside what people use today. Each program measures all of its cases in one run.
//!
//! | program | what it measures |
//! |---|---|
//! | `peers` | time: requests that are accepted, requests that are refused, and tokens alone |
//! | `answers` | no time: what each answers to requests with a fault |
//! | `allocations` | the same requests, by their allocations |
//! | `scale` | this crate by the number of live tokens, their size, and threads; its memory; a flood of tokens |
//! | `caches` | the caches of which one was chosen |
//! | `hello` | a server for `end_to_end.py` |
//!
//! All run by `scripts/bench.sh`. Tables go to the standard output, nanoseconds to the standard error.

#![allow(clippy::missing_panics_doc, clippy::must_use_candidate)]

pub mod alternate;
pub mod cases;
pub mod peers;
pub mod request;
pub mod tables;
pub mod tokens;
