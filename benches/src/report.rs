//! The figures as a table, and how they stand to the targets.

use crate::{
    apps::{Candidate, Scenario},
    measure::Figures,
};

/// What a request may cost over its baseline.
struct Target {
    baseline: Candidate,
    /// Microseconds. On a machine where the better tower-sessions row takes `peer`; on another one the ratio says more.
    time: f64,
    peer: f64,
    /// At least so many times less than the better tower-sessions row.
    ratio: f64,
    allocations: Option<f64>,
}

fn target(scenario: Scenario) -> Target {
    let over_bare = |time, peer, ratio, allocations| Target { baseline: Candidate::Bare, time, peer, ratio, allocations };
    match scenario {
        Scenario::Read => over_bare(1.35, 3.4, 2.5, Some(17.0)),
        Scenario::Change => over_bare(1.5, 6.2, 4.0, None),
        Scenario::New => over_bare(2.6, 7.3, 2.5, None),
        // `Router::layer` boxes what it wraps, whatever that does.
        Scenario::Untouched => {
            Target { baseline: Candidate::NoOpLayer, time: 0.08, peer: 0.85, ratio: 3.0, allocations: Some(1.0) }
        }
    }
}

/// The figures of one scenario.
pub(crate) struct Report {
    scenario: Scenario,
    figures: [Figures; Candidate::ALL.len()],
}

/// Whether the allocations are within the target. Times depend on the machine and its mood; counts do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocations {
    Within,
    Exceeded,
}

impl Report {
    pub(crate) fn new(scenario: Scenario, figures: [Figures; Candidate::ALL.len()]) -> Self {
        Self { scenario, figures }
    }

    fn of(&self, candidate: Candidate) -> Figures {
        self.figures[candidate as usize]
    }

    /// Microseconds over another candidate, by the minimum.
    fn over(&self, candidate: Candidate, baseline: Candidate) -> f64 {
        (self.of(candidate).minimum - self.of(baseline).minimum) / 1000.0
    }

    /// What the better of the two tower-sessions rows takes over a baseline.
    fn peer(&self, baseline: Candidate) -> f64 {
        self.over(Candidate::KeyPerField, baseline).min(self.over(Candidate::OneStruct, baseline))
    }

    pub(crate) fn print_table(&self) {
        let baseline = target(self.scenario).baseline;
        let peer = self.peer(baseline);
        println!(
            "{:<34}{:>9}{:>9}{:>11}{:>13}{:>13}{:>13}",
            self.scenario.name(),
            "min us",
            "median",
            "over bare",
            "over no-op",
            "peer / this",
            "allocations"
        );
        for candidate in Candidate::ALL {
            let figures = self.of(candidate);
            let (over_bare, over_no_op) = (self.over(candidate, Candidate::Bare), self.over(candidate, Candidate::NoOpLayer));
            let ratio = match candidate {
                Candidate::Bare | Candidate::NoOpLayer => String::new(),
                _ => format!("{:.1}x", peer / self.over(candidate, baseline)),
            };
            println!(
                "  {:<32}{:>9.2}{:>9.2}{over_bare:>11.2}{over_no_op:>13.2}{ratio:>13}{:>13.1}",
                candidate.name(),
                figures.minimum / 1000.0,
                figures.median / 1000.0,
                figures.allocations
            );
        }
        println!();
    }

    pub(crate) fn print_verdict(&self) -> Allocations {
        let target = target(self.scenario);
        let time = self.over(Candidate::Cloakroom, target.baseline);
        let peer = self.peer(target.baseline);
        let allocations = self.of(Candidate::Cloakroom).allocations - self.of(target.baseline).allocations;
        let over = if target.baseline == Candidate::Bare { "bare" } else { "a layer that does nothing" };
        let counted = target.allocations.map_or_else(
            || format!("{allocations:.1} allocations"),
            |most| format!("{allocations:.1} allocations (target {most:.0})"),
        );
        let within = target.allocations.is_none_or(|most| allocations <= most);
        let mut missed = Vec::new();
        // On a slower machine everything takes longer, so the target grows as the peer's figure does.
        if time > target.time.max(target.time * peer / target.peer) {
            missed.push("time");
        }
        if peer / time < target.ratio {
            missed.push("ratio");
        }
        if !within {
            missed.push("allocations");
        }
        println!(
            "{}: {time:.2} us over {over} (target {} where tower-sessions takes {}; here it takes {peer:.2}), {:.1}x less than \
             tower-sessions (target {}x), {counted}: {}",
            self.scenario.name(),
            target.time,
            target.peer,
            peer / time,
            target.ratio,
            if missed.is_empty() { "met".to_owned() } else { format!("missed by {}", missed.join(", ")) }
        );
        if within { Allocations::Within } else { Allocations::Exceeded }
    }
}
