//! What a session costs per request: cloakroom beside tower-sessions, a layer that does nothing and no layer, in one run.

mod apps;
mod counter;
mod measure;
mod report;

use apps::Scenario;
use report::{Allocations, Report};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo run --release -p cloakroom-benches [-- --rounds <number>] [-- --check]
  --rounds  how often every candidate takes its turn; 400 unless given
  --check   fail if cloakroom allocates more than the targets allow";

fn main() -> ExitCode {
    let (mut rounds, mut check) = (400, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--check" => check = true,
            "--rounds" => match arguments.next().and_then(|number| number.parse().ok()) {
                Some(number) if number > 0 => rounds = number,
                _ => return refuse("--rounds takes a number above 0"),
            },
            other => return refuse(&format!("unknown argument {other:?}")),
        }
    }
    if cfg!(debug_assertions) {
        eprintln!("This is a debug build: the times say little, and the library looks at more. Add --release.");
    }
    let reports: Vec<Report> =
        Scenario::ALL.into_iter().map(|scenario| Report::new(scenario, measure::measure(scenario, rounds))).collect();
    for report in &reports {
        report.print_table();
    }
    let verdicts: Vec<Allocations> = reports.iter().map(Report::print_verdict).collect();
    if check && verdicts.contains(&Allocations::Exceeded) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("{why}\n{USAGE}");
    ExitCode::from(2)
}
