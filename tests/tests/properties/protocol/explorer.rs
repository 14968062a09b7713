//! Depth-first search over all choices of the scheduler, each run repeated from its start.

use super::request::{Run, Scenario, Step};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Instant,
};

/// More steps than any run of a scenario needs: one that goes on for ever is a failure too.
const LONGEST: usize = 200;

/// A state on the current path: what may be chosen there, and what is chosen now.
struct Node {
    enabled: Vec<Step>,
    /// Places in `enabled` of what is explored here.
    choices: Vec<usize>,
    taken: usize,
    /// What has been explored before an equivalent order (sleep sets, Godefroid 1996).
    asleep: Vec<Step>,
}

impl Node {
    fn step(&self) -> Step {
        self.enabled[self.choices[self.taken]]
    }

    /// What need not be explored after the step taken here: it has been explored before it, and the order makes no difference.
    fn asleep_after(&self) -> Vec<Step> {
        let step = self.step();
        let earlier = self.choices[..self.taken].iter().map(|at| self.enabled[*at]);
        self.asleep.iter().copied().chain(earlier).filter(|other| other.commutes(step)).collect()
    }
}

/// A run that breaks a rule.
struct Failure {
    text: String,
    /// What is chosen in each state, as places in the list of what may happen there.
    choices: Vec<usize>,
    disturbances: usize,
    times: usize,
}

/// What a search has found.
pub(super) struct Report {
    pub(super) runs: usize,
    /// How runs end, in words: every answer that was given, and what is stored.
    pub(super) ends: BTreeSet<String>,
    failures: BTreeMap<&'static str, Failure>,
}

/// Which runs are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prune {
    /// Those that differ from another one only in the order of steps that commute.
    Equivalent,
    Nothing,
}

/// Tries everything that may happen.
pub(super) fn explore(scenario: &'static Scenario, prune: Prune) -> Report {
    let mut report = Report { runs: 0, ends: BTreeSet::new(), failures: BTreeMap::new() };
    let mut path: Vec<Node> = Vec::new();
    loop {
        let mut run = Run::new(scenario);
        for node in &path {
            assert_eq!(run.enabled(), node.enabled, "the same choices lead to another state");
            run.take(node.step());
        }
        if extend(&mut run, &mut path, prune) {
            report.runs += 1;
            report.ends.insert(run.end());
        }
        if let Some(violation) = run.violation() {
            let choices: Vec<usize> = path.iter().map(|node| node.choices[node.taken]).collect();
            let disturbances = path.iter().filter(|node| node.step().is_disturbance()).count();
            report.note(violation.rule, violation.text, choices, disturbances);
        }
        loop {
            let Some(node) = path.last_mut() else { return report };
            node.taken += 1;
            if node.taken < node.choices.len() {
                break;
            }
            path.pop();
        }
    }
}

/// Goes on to the end with the first of all choices. Answers whether it is an end of its own.
fn extend(run: &mut Run, path: &mut Vec<Node>, prune: Prune) -> bool {
    loop {
        if run.violation().is_some() {
            return true;
        }
        let enabled = run.enabled();
        if enabled.is_empty() {
            run.close();
            return true;
        }
        assert!(path.len() < LONGEST, "a run goes on for ever: {:?}", path.iter().map(Node::step).collect::<Vec<_>>());
        let last = path.last().filter(|_| prune == Prune::Equivalent);
        let asleep = last.map(Node::asleep_after).unwrap_or_default();
        let choices: Vec<usize> = (0..enabled.len()).filter(|at| !asleep.contains(&enabled[*at])).collect();
        if choices.is_empty() {
            return false;
        }
        let node = Node { enabled, choices, taken: 0, asleep };
        run.take(node.step());
        path.push(node);
    }
}

impl Report {
    fn note(&mut self, rule: &'static str, text: String, choices: Vec<usize>, disturbances: usize) {
        let new = Failure { text, choices, disturbances, times: 1 };
        let size = |failure: &Failure| (failure.disturbances, failure.choices.len());
        match self.failures.get_mut(rule) {
            None => drop(self.failures.insert(rule, new)),
            Some(known) => {
                let times = known.times + 1;
                if size(&new) < size(known) {
                    *known = new;
                }
                known.times = times;
            }
        }
    }

    /// The shortest run that breaks each rule, in words.
    fn failures(&self, name: &str, scenario: &'static Scenario) -> String {
        let mut text = String::new();
        for (rule, failure) in &self.failures {
            let _ = write!(text, "\nrule {rule}: {} ({} of {} runs)\n", failure.text, failure.times, self.runs);
            text += &replay(scenario, &failure.choices);
            let _ = writeln!(text, "  const REPLAY: (&str, &[usize]) = ({name:?}, &{:?});", failure.choices);
        }
        text
    }
}

/// A run in words.
pub(super) fn replay(scenario: &'static Scenario, choices: &[usize]) -> String {
    let mut text = String::new();
    let mut run = Run::new(scenario);
    run.read_along();
    for choice in choices {
        let Some(step) = run.enabled().get(*choice).copied() else {
            let _ = writeln!(text, "  there is no choice {choice} here: the program has changed");
            return text;
        };
        let _ = writeln!(text, "  - {}", run.describe(step));
        let asked = run.asked();
        run.take(step);
        for news in run.news(asked) {
            let _ = writeln!(text, "      {news}");
        }
    }
    if run.enabled().is_empty() && run.violation().is_none() {
        run.close();
    }
    match run.violation() {
        Some(violation) => {
            let _ = writeln!(text, "  broken: {}: {}", violation.rule, violation.text);
        }
        None => text += "  nothing is broken\n",
    }
    text
}

/// Explores a scenario, or repeats the one run of it that is asked for, and fails if a rule is broken.
pub(super) fn check(name: &str, scenario: &'static Scenario, only: (&str, &[usize])) {
    if only.0 == name {
        panic!("{name}, one run:\n{}", replay(scenario, only.1));
    }
    let started = Instant::now();
    let report = explore(scenario, Prune::Equivalent);
    println!("{name}: {} runs in {:.1} s", report.runs, started.elapsed().as_secs_f32());
    assert!(report.failures.is_empty(), "{name}\n{}", report.failures(name, scenario));
}
