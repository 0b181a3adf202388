//! The command line: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use shortline::commands::Cli;

#[actix_web::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shortline: {error:#}");
            ExitCode::FAILURE
        }
    }
}
