//! `shortline short-code import`: many short codes from a file, all or none.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{cli_error, describe_errors};
use crate::auth::Actor;
use crate::error::ApiError;
use crate::input::json::parse_object;
use crate::input::{Completeness, FromMember, Members};
use crate::short_codes::{NewShortCode, ShortCode};
use crate::store;

/// How many short codes one statement creates.
const CHUNK: usize = 1_000;
/// How many bad lines are cli_error at most.
const TOLD: usize = 20;

/// A line's number, from 1, and what was made of it.
type Line<T> = (u64, T);

/// The members on a line, where they can be read.
type Read = Result<Map<String, Value>, ApiError>;

/// Creates the short codes of `file`, which belong to `partner` where the file names no other.
///
/// # Errors
/// With the number of each bad line; nothing is created then.
pub async fn run(
    connection: &mut PgConnection,
    file: &Path,
    partner: Option<Uuid>,
) -> anyhow::Result<usize> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = text.trim_start_matches('\u{feff}');
    let lines = match text.trim_start().chars().next() {
        Some('{') => ndjson(text),
        Some('[') => bail!("{} is a JSON array; NDJSON has one object a line", file.display()),
        _ => csv(text)?,
    };
    ensure!(!lines.is_empty(), "{} holds no short code", file.display());
    let codes = check(lines, partner)?;
    // It writes to standard error, and only to a terminal.
    let style =
        ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} short codes, {eta} left")?;
    let progress = ProgressBar::new(codes.len() as u64).with_style(style);
    let mut tx = connection.begin().await?;
    for chunk in codes.chunks(CHUNK) {
        create(&mut tx, chunk).await?;
        progress.inc(chunk.len() as u64);
    }
    tx.commit().await?;
    progress.finish_and_clear();
    Ok(codes.len())
}

/// Creates a chunk; where it is refused, finds the line that is to blame.
async fn create(tx: &mut PgConnection, chunk: &[Line<ShortCode>]) -> anyhow::Result<()> {
    let operator = Actor::operator();
    let mut attempt = tx.begin().await?;
    let codes = chunk.iter().map(|(_, code)| code.clone()).collect();
    match store::create_all(&mut attempt, &operator, codes).await {
        Ok(_) => return Ok(attempt.commit().await?),
        Err(ApiError::Invalid(_) | ApiError::Conflict(_)) => attempt.rollback().await?,
        Err(error) => return Err(cli_error(error)),
    }
    for (line, code) in chunk {
        let created = store::create_one(&mut *tx, &operator, code.clone()).await;
        created.map_err(cli_error).with_context(|| format!("nothing was imported\nline {line}"))?;
    }
    Ok(())
}

/// Reads every line's members as a short code, or tells which cannot be.
fn check(lines: Vec<Line<Read>>, partner: Option<Uuid>) -> anyhow::Result<Vec<Line<ShortCode>>> {
    let mut codes = Vec::with_capacity(lines.len());
    let mut bad = Vec::new();
    for (line, members) in lines {
        let code = members.and_then(|mut members| {
            if let Some(partner) = partner {
                members.entry("partner_sid").or_insert_with(|| partner.to_string().into());
            }
            let parsed = Members::parse::<NewShortCode>(members, Completeness::Partial, false)?;
            // Over the API it is read only; here, whoever moves keeps it.
            let sid =
                parsed.echoed.get("short_code_sid").cloned().map(Uuid::from_member).transpose();
            let sid =
                sid.map_err(|refusal| ApiError::invalid("short_code_sid", refusal.message))?;
            parsed.input.build(sid.unwrap_or_else(Uuid::now_v7))
        });
        match code {
            Ok(code) => codes.push((line, code)),
            Err(error) => bad.push(format!("line {line}: {}", describe_errors(&error.errors()))),
        }
    }
    if !bad.is_empty() {
        let more = bad.len().saturating_sub(TOLD);
        bad.truncate(TOLD);
        if more > 0 {
            bad.push(format!("and {more} more bad lines"));
        }
        bail!("nothing was imported\n{}", bad.join("\n"));
    }
    Ok(codes)
}

/// One JSON object a line.
fn ndjson(text: &str) -> Vec<Line<Read>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| (number, parse_object(line.as_bytes()))).collect()
}

/// The first line names the members. An empty cell leaves its member out; `attributes` is JSON, the others are text.
fn csv(text: &str) -> anyhow::Result<Vec<Line<Read>>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers()?.clone();
    if let Some(twice) = names
        .iter()
        .enumerate()
        .find(|(at, name)| names.iter().take(*at).any(|other| other == *name))
    {
        bail!("nothing was imported: the column {} stands there twice", twice.1);
    }
    let mut lines = Vec::new();
    let mut number = LineNumber::new(text);
    for record in reader.records() {
        let record = record.context("nothing was imported")?;
        let start = record.position().map_or(0, csv::Position::byte);
        let cells = names.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
        let members = cells.map(|(name, cell)| {
            let value = match name {
                "attributes" => parse_object(cell.as_bytes()).map(Value::Object)?,
                _ => Value::from(cell),
            };
            Ok((name.to_owned(), value))
        });
        lines.push((number.at(start as usize), members.collect()));
    }
    Ok(lines)
}

/// Counts lines on the way through a text.
struct LineNumber<'a> {
    text: &'a [u8],
    at: usize,
    number: u64,
}

impl<'a> LineNumber<'a> {
    fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0, number: 1 }
    }

    /// The line of the record that starts at byte `start`, or after the line ends that stand there.
    fn at(&mut self, start: usize) -> u64 {
        let line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let blank = self.text[start..].iter().take_while(|byte| line_end(byte)).count();
        let passed = &self.text[self.at..start + blank];
        self.number += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = start + blank;
        self.number
    }
}
