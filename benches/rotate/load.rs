//! Callers that call, and what is seen of it.

use std::env;
use std::future::Future;
use std::time::{Duration, Instant};

/// What many calls took.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    p50: Duration,
    p99: Duration,
}

impl Measured {
    pub(crate) fn print(&self, name: &str, callers: usize) {
        println!(
            "  {name:<34} {callers:>4} callers {:>9.0} /s   p50 {:>7.3} ms   p99 {:>7.3} ms",
            self.per_second,
            self.p50.as_secs_f64() * 1e3,
            self.p99.as_secs_f64() * 1e3,
        );
    }
}

/// How long each thing is measured at a time.
pub(crate) fn seconds_each() -> Duration {
    let seconds = env::var("SECONDS_EACH").ok().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    Duration::from_secs_f64(seconds)
}

/// Lets each of `callers` call by its own state, one call after the other, until the time is over.
pub(crate) async fn run<S, F>(states: Vec<S>, call: impl Fn(S) -> F + Clone + Send + 'static) -> Measured
where
    S: Send + 'static,
    F: Future<Output = S> + Send + 'static,
{
    let (start, limit) = (Instant::now(), seconds_each());
    let tasks: Vec<_> = states
        .into_iter()
        .map(|mut state| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < limit {
                    let before = Instant::now();
                    state = call(state).await;
                    times.push(before.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let took = start.elapsed();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    Measured { per_second: times.len() as f64 / took.as_secs_f64(), p50: at(50), p99: at(99) }
}

/// The middle one of three by its rate: the machine is shared.
pub(crate) fn middle(mut measured: Vec<Measured>) -> Measured {
    measured.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let middle = measured.len() / 2;
    measured.swap_remove(middle)
}

pub(crate) fn ratio(what: &str, of: &Measured, to: &Measured) {
    println!("    {what}: {:.2}", of.per_second / to.per_second);
}
