//! The command line of `crelay-payments`. The server itself is in the library.

mod cli;
mod logging;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let command = cli::Cli::parse();
    cli::process::forbid_core_dumps();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime needs a few threads and descriptors");
    let code = runtime.block_on(cli::run(command)).unwrap_or_else(|error| {
        cli::print_error(format_args!("Error: {error:#}"));
        ExitCode::FAILURE
    });
    // Work that blocks a thread, such as a look-up of a name, may hang, and must not hold up the end.
    runtime.shutdown_background();
    code
}
