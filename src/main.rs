//! The command line: parse, run, exit code.

use std::process::ExitCode;

use shortline::commands::Cli;
/// Idle connections take a third less memory than with the C library's allocator, at the same speed:
/// docs/performance.md.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
