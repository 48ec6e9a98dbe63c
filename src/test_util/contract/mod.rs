//! What every session store does, whatever it keeps its sessions in: one test a function, which
//! [`store_contract!`](crate::store_contract) makes of it.
//!
//! Nothing here relies on a clock that stands still: a store that decides by a server's clock runs the same tests. So
//! times are compared with the `now` of the answer, and windows are passed by a minute at least.

// A fault of the store is a panic of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)]

mod at_once;
mod bench;
mod cap;
mod ends;
mod feed;
mod keeping;
mod resent;
mod rotation;
mod time;
mod until_used;

pub use at_once::*;
pub use bench::{Bench, ShiftTime};
pub use cap::*;
pub use ends::*;
pub use feed::*;
pub use keeping::*;
pub use resent::*;
pub use rotation::*;
pub use time::*;
pub use until_used::*;

/// Makes a test of each part of the contract that every [`SessionStore`](crate::SessionStore) keeps.
///
/// The argument is an async function without arguments that gives a [`Bench`](crate::test_util::Bench): a store that no
/// other test uses, and the clock that it decides by. It may give an `Option` of it: with `None`, where there is no
/// server to test with, the tests do nothing. The program needs tokio with `macros` and `rt-multi-thread`.
///
/// ```
/// use tower_jwt_auth::MokaStore;
/// use tower_jwt_auth::test_util::{Bench, ManualClock};
///
/// async fn open() -> Bench<MokaStore, ManualClock> {
///     let clock = ManualClock::new();
///     Bench { store: MokaStore::builder().clock(clock.clone()).build(), clock }
/// }
///
/// tower_jwt_auth::store_contract!(open);
/// ```
#[macro_export]
macro_rules! store_contract {
    ($open:path) => {
        $crate::store_contract!(@one $open:
            a_session_comes_back_as_it_was_given
            odd_values_come_back_as_they_were_given
            a_repeated_create_makes_one_session
            a_session_id_is_looked_up_under_its_subject_only
            the_list_has_the_live_sessions_the_latest_first
            row_1_tokens_of_no_session_are_unknown
            row_2_expired_sessions_are_refused_and_kept
            row_3_writes_that_were_lost_are_recovered
            row_4_a_token_just_handed_out_is_not_rotated
            row_5_a_token_rotates
            row_5_the_absolute_end_does_not_move
            row_6_the_window_does_not_slide
            row_7_a_late_predecessor_ends_its_session_only
            row_8_a_reused_token_ends_what_the_policy_names
            a_reuse_does_not_refuse_logins_under_way
            a_strict_token_is_good_once
            generations_run_out_quietly
            a_resent_rotation_gets_the_same_token
            a_resent_end_is_reported_again_and_ends_nothing_more
            a_session_ends_by_its_proof_only
            all_sessions_of_a_subject_end_but_one
            logins_checked_before_a_revocation_lose
            the_longest_unused_session_makes_room
            a_lower_cap_ends_several
            use_is_marked_once_and_for_the_newest_token
            until_used_a_late_retry_of_an_unused_token_is_answered
            until_used_a_token_in_use_supersedes_its_predecessor
            until_used_an_unused_token_that_is_presented_is_in_use
            until_used_a_resent_replacement_counts_once
            expired_sessions_are_forgotten_a_day_later
            a_clock_that_steps_back_harms_nobody
            a_resent_create_does_not_undo_a_logout
            a_resent_create_does_not_undo_an_end_beside_another
            a_resent_logout_is_answered_again
            a_resent_end_of_all_spares_later_logins
            a_feed_is_told_of_each_end
        );
        $crate::store_contract!(@many $open:
            at_once_a_token_has_one_successor
            at_once_a_strict_token_is_good_once
            at_once_late_retries_are_one_replacement
            at_once_a_creation_makes_one_session
            at_once_logins_keep_to_the_cap
            at_once_no_rotation_outlives_the_end_of_its_session
            at_once_no_login_outlives_the_end_of_all_sessions
            at_once_a_reuse_ends_all_and_is_reported_once
        );
    };
    (@one $open:path: $($case:ident)*) => {$(
        #[tokio::test]
        async fn $case() {
            if let Some(bench) = $crate::test_util::contract::opened($open().await) {
                $crate::test_util::contract::$case(&bench).await;
            }
        }
    )*};
    (@many $open:path: $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            if let Some(bench) = $crate::test_util::contract::opened($open().await) {
                $crate::test_util::contract::$case(bench).await;
            }
        }
    )*};
}

/// What a test was given to open.
pub fn opened<S, C>(opened: impl Into<Option<Bench<S, C>>>) -> Option<Bench<S, C>> {
    opened.into()
}
