//! Counts the instructions of the pure parts, in Valgrind: see `src/bench/README.md`.

#![expect(missing_docs, reason = "the macros document nothing of what they write")]

use std::process::{Command, ExitCode};

use crelay_payments::bench::steps::{self, Step};
use gungraun::{library_benchmark, library_benchmark_group};

// A step that can be taken again was taken before: what a process sets up once does not count.
#[library_benchmark]
#[bench::parse_prompt(steps::parse_prompt().take())]
#[bench::answer_prompt(steps::answer_prompt())]
#[bench::build_request(steps::build_request().take())]
#[bench::read_answer(steps::read_answer())]
#[bench::redact_answer(steps::redact_answer())]
#[bench::redact_numbers(steps::redact_numbers())]
#[bench::speak_answer(steps::speak_answer())]
#[bench::write_answer(steps::write_answer().take())]
#[bench::verify_signature(steps::verify_signature().take())]
#[bench::parse_callback(steps::parse_callback().take())]
fn step(step: Step) -> Step {
    step.take()
}

library_benchmark_group!(name = steps_of_a_call, benchmarks = step);

mod harness {
    use super::steps_of_a_call;

    gungraun::main!(library_benchmark_groups = steps_of_a_call);

    pub(super) fn run() {
        main();
    }
}

fn main() -> ExitCode {
    // Within Valgrind they are there.
    let is_inside = std::env::args().any(|argument| argument == "--gungraun-run");
    let runner = option_env!("GUNGRAUN_RUNNER").unwrap_or("gungraun-runner");
    let is_there = |program: &&str| Command::new(program).arg("--version").output().is_ok();
    if let Some(missing) = ["valgrind", runner].iter().find(|program| !is_inside && !is_there(program)) {
        eprintln!("The benches need {missing}, which is not in PATH: src/bench/README.md says how to install it.");
        return ExitCode::FAILURE;
    }
    harness::run();
    ExitCode::SUCCESS
}
