//! When to refresh: a lead before expiry, a jitter, a back-off. Pure.

use std::time::Duration;

/// How long one attempt may take. The server's windows are sized for clients that give up here: an answer that comes
/// later is thrown away.
pub(super) const GIVE_UP: Duration = Duration::from_secs(9);

/// For how long after its first attempt a refresh that was not answered is tried again by itself. A rotation may have
/// been carried out whose answer was lost, and the server repeats it for 30 seconds.
pub(super) const PERSIST: Duration = Duration::from_secs(30);

const MINUTE: Duration = Duration::from_secs(60);

/// The longest life of an access token that is believed.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// How long before its expiry a token is due for a refresh: the smaller of a minute and a fifth of its life, and up to
/// the smaller of a minute and a tenth of it earlier, so that many clients do not come at once and nobody can foretell
/// the moment. `random` stands for a fraction of `u32::MAX`.
pub(super) fn lead(lifetime: Duration, random: u32) -> Duration {
    let jitter = MINUTE.min(lifetime / 10);
    MINUTE.min(lifetime / 5) + fraction(jitter, random)
}

/// The longest pause of a task that asks again for an answer that may be repeated.
pub(super) const SOON: Duration = Duration::from_secs(4);

/// How long those who wait for a refresh believe that it goes on: longer than storage and attempts take together.
pub(super) const STANDSTILL: Duration = Duration::from_secs(90);

/// How long to leave the server alone after this many failures in a row: a second, doubled up to a minute, and up to a
/// quarter less.
pub(super) fn back_off(failures: u32, random: u32) -> Duration {
    let doubled = Duration::from_secs(1).saturating_mul(1 << failures.saturating_sub(1).min(6)).min(MINUTE);
    doubled.saturating_sub(fraction(doubled / 4, random))
}

/// How young a token must be that a refusal of it is not answered with a refresh: the next one would fare no better.
pub(super) fn fresh(lifetime: Duration) -> Duration {
    Duration::from_secs(10).min(lifetime / 5)
}

fn fraction(whole: Duration, random: u32) -> Duration {
    whole.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads() {
        for (lifetime, random, expected) in [
            (900, 0, 60.0),
            (900, u32::MAX, 120.0),
            (300, 0, 60.0),
            (300, u32::MAX, 90.0),
            (60, 0, 12.0),
            (60, u32::MAX, 18.0),
            (1, u32::MAX, 0.3),
            (0, u32::MAX, 0.0),
        ] {
            let lead = lead(Duration::from_secs(lifetime), random).as_secs_f64();
            assert!((lead - expected).abs() < 1e-6, "{lifetime} s, {random}: {lead}");
        }
    }

    #[test]
    fn a_token_is_never_due_before_two_thirds_of_its_life() {
        for lifetime in [1, 7, 59, 60, 299, 301, 900, 86_400] {
            let lifetime = Duration::from_secs(lifetime);
            assert!(lead(lifetime, u32::MAX) <= lifetime / 3);
        }
        // Nothing overflows.
        assert!(lead(LONGEST, u32::MAX) < LONGEST && lead(Duration::MAX, u32::MAX) == 2 * MINUTE);
    }

    #[test]
    fn back_offs_double_up_to_a_minute() {
        for (failures, most) in [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (u32::MAX, 60)] {
            let most = Duration::from_secs(most);
            assert_eq!(back_off(failures, 0), most, "{failures}");
            assert_eq!(back_off(failures, u32::MAX), most * 3 / 4, "{failures}");
        }
    }

    #[test]
    fn a_lost_answer_is_asked_for_again_while_the_server_repeats_it() {
        // Two attempts at once, then back-offs: how many begin in the window if each fails at once.
        let (mut at, mut attempts) = (Duration::ZERO, 0);
        for round in 1.. {
            attempts += 2;
            at += back_off(round, 0).min(SOON);
            if at >= PERSIST {
                break;
            }
        }
        assert_eq!(attempts, 18);
    }
}
