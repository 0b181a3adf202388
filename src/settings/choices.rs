//! The settings whose values are one of a few words.

use clap::ValueEnum;

/// The format of new tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenFormat {
    /// A signed JSON Web Token.
    Jwt,
    /// A random UUID that only the database can resolve.
    Opaque,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Plain text, for reading on a terminal.
    Text,
}

/// Whether the console is served, and what its users can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConsoleMode {
    /// Everything that their scopes allow.
    On,
    /// Read.
    ReadOnly,
    /// It is not served, and its client does not exist.
    Off,
}
