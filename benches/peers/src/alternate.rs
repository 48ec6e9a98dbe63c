//! Measures many things in one run, each in turn: what disturbs the machine for a while then disturbs all of them.

use std::time::{Duration, Instant};

/// Long enough for the clock not to matter, short enough for a case to have many turns.
const SLICE: Duration = Duration::from_millis(2);

/// A named operation.
pub struct Case {
    pub name: String,
    // The loop is inside, so that the call through the pointer is paid once for a slice.
    run: Box<dyn FnMut(u64)>,
}

impl Case {
    pub fn new(name: impl Into<String>, mut operation: impl FnMut() + 'static) -> Self {
        let run = Box::new(move |count| {
            for _ in 0..count {
                operation();
            }
        });
        Self { name: name.into(), run }
    }

    pub fn once(&mut self) {
        (self.run)(1);
    }

    fn time(&mut self, count: u64) -> Duration {
        let begun = Instant::now();
        (self.run)(count);
        begun.elapsed()
    }

    /// How many operations fill a slice; the doubling warms up as well.
    fn calibrate(&mut self) -> u64 {
        let mut count = 1;
        loop {
            // The better of two: a pause from outside must not pass for a slow operation.
            let took = self.time(count).min(self.time(count));
            if took >= SLICE {
                let share = SLICE.as_secs_f64() / took.as_secs_f64();
                return ((count as f64 * share) as u64).max(1);
            }
            count *= 2;
        }
    }
}

/// Nanoseconds of one operation of each case: the median of its slices, one in each round.
///
/// Each round begins with another case, so that none always follows the same pause.
pub fn nanoseconds(cases: &mut [Case], rounds: usize) -> Vec<f64> {
    let counts: Vec<u64> = cases.iter_mut().map(Case::calibrate).collect();
    let mut slices = vec![Vec::with_capacity(rounds); cases.len()];
    for round in 0..rounds {
        for turn in 0..cases.len() {
            let index = (round + turn) % cases.len();
            let took = cases[index].time(counts[index]);
            slices[index].push(took.as_nanos() as f64 / counts[index] as f64);
        }
    }
    slices.into_iter().map(median).collect()
}

/// The number of rounds: `ROUNDS` in the environment, or 60.
pub fn rounds() -> usize {
    std::env::var("ROUNDS").map_or(60, |text| text.parse().expect("ROUNDS is a number")).max(1)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}
