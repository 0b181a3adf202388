//! The command line: parse, run, exit code.

use std::process::ExitCode;

use shortline::commands::Cli;

/// Faster than the system's under many small requests, and it gives idle connections' memory back: see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
