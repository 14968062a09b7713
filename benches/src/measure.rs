//! Timing by turns: every candidate once per round, so that whatever else the machine does meets all of them alike.

use crate::{
    apps::{Candidate, Scenario},
    counter::allocations,
};
use std::time::Instant;

/// Requests that are timed together. Few enough that many a round goes by undisturbed.
const BATCH: u32 = 200;

/// Requests before those, not timed.
const WARM_UP: u32 = 50;

/// What a candidate takes for one request of a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// The shortest round, in nanoseconds per request.
    pub(crate) minimum: f64,
    /// The middle one.
    pub(crate) median: f64,
    /// Allocations, the fewest of all rounds: maps and buffers that grow now and then are left out.
    pub(crate) allocations: f64,
}

/// The figures of all candidates for one scenario, in the order of [`Candidate::ALL`].
pub(crate) fn measure(scenario: Scenario, rounds: usize) -> [Figures; Candidate::ALL.len()] {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut samples = Candidate::ALL.map(|_| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        for (candidate, samples) in Candidate::ALL.into_iter().zip(&mut samples) {
            samples.push(runtime.block_on(one_round(candidate, scenario)));
        }
    }
    samples.map(|mut samples| {
        let allocations = samples.iter().map(|(_, allocations)| *allocations).min().unwrap_or(0);
        samples.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        Figures {
            minimum: samples[0].0,
            median: samples[samples.len() / 2].0,
            allocations: allocations as f64 / f64::from(BATCH),
        }
    })
}

/// Nanoseconds per request and allocations in all.
async fn one_round(candidate: Candidate, scenario: Scenario) -> (f64, u64) {
    // A new application each time: new sessions would fill a store that is kept.
    let mut app = candidate.app();
    app.sign_up().await;
    for _ in 0..WARM_UP {
        app.answer(app.request(scenario)).await;
    }
    let requests: Vec<_> = (0..BATCH).map(|_| app.request(scenario)).collect();
    let (allocated, started) = (allocations(), Instant::now());
    for request in requests {
        let response = app.answer(request).await;
        debug_assert!(response.status().is_success());
    }
    let elapsed = started.elapsed();
    (elapsed.as_nanos() as f64 / f64::from(BATCH), allocations() - allocated)
}
