//! The command line: parse, run, exit code.

use std::process::ExitCode;

use shortline::commands::Cli;

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
