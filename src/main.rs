//! The command line: parse, run, exit code.

use std::process::ExitCode;

use shortline::commands::Cli;
use tikv_jemallocator::Jemalloc;

/// Takes a third less memory for idle connections than the C library's, and no more time: docs/performance.md.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[actix_web::main]
async fn main() -> ExitCode {
    match Cli::from_process().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shortline: {error:#}");
            ExitCode::FAILURE
        }
    }
}
