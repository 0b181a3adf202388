//! `shortline short-code import` and `did import`: creates the objects in a file, all or none.

use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::output::{cli_error, one_line};
use crate::auth::Actor;
use crate::error::{ApiError, FieldError};
use crate::input::json::parse_object;
use crate::input::{Completeness, FromMember, Members};
use crate::short_codes::{NewShortCode, ShortCode};
use crate::store::{self, NewObjects, Resource};

/// The number of short codes that one statement creates.
const CHUNK_SIZE: usize = 1_000;
/// The most invalid lines that are reported individually.
const MAX_REPORTED: usize = 20;

/// The number of a line, from 1, and its content.
type Line<T> = (u64, T);

/// The members on a line.
type Object = Result<Map<String, Value>, ApiError>;

/// Objects that a file can contain.
pub(super) trait Imported: Resource {
    /// Their name in messages, in the plural.
    const NOUN: &'static str;

    /// Converts a cell of a CSV file to the value of the member of that name. By default it is
    /// text.
    fn cell(_name: &str, cell: &str) -> Result<Value, ApiError> {
        Ok(Value::from(cell))
    }

    /// Reads the members on a line. The object belongs to `partner` unless they name another one.
    fn read(members: Map<String, Value>, partner: Option<Uuid>) -> Result<Self, ApiError>;
}

/// Returns the sid among the members, or a new one. It is read-only in the API. Here it is
/// accepted, so that objects of another system can retain theirs.
pub(super) fn sid_of(name: &'static str, echoed: &Map<String, Value>) -> Result<Uuid, ApiError> {
    let sid = echoed.get(name).cloned().map(Uuid::from_member).transpose();
    let sid = sid.map_err(|error| ApiError::invalid(name, error.message))?;
    Ok(sid.unwrap_or_else(Uuid::now_v7))
}

impl Imported for ShortCode {
    const NOUN: &'static str = "short codes";

    fn cell(name: &str, cell: &str) -> Result<Value, ApiError> {
        match name {
            "attributes" => parse_object(cell.as_bytes()).map(Value::Object),
            _ => Ok(Value::from(cell)),
        }
    }

    fn read(mut members: Map<String, Value>, partner: Option<Uuid>) -> Result<Self, ApiError> {
        if let Some(partner) = partner {
            members.entry("partner_sid").or_insert_with(|| partner.to_string().into());
        }
        let parsed = Members::parse::<NewShortCode>(members, Completeness::Partial, false)?;
        parsed.input.build(sid_of("short_code_sid", &parsed.echoed)?)
    }
}

/// Creates the objects in `file`. They belong to `partner` unless the file names another one.
///
/// # Errors
/// A message with the number of each invalid line. Nothing is created then.
pub async fn run<R: Imported>(
    connection: &mut PgConnection,
    file: &Path,
    partner: Option<Uuid>,
) -> anyhow::Result<usize> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = utf8(&bytes)?.trim_start_matches('\u{feff}');
    let lines = match text.trim_start().chars().next() {
        Some('{') => ndjson(text),
        Some('[') => bail!(
            "{} contains a JSON array; expected CSV or one JSON object per line (NDJSON)",
            file.display()
        ),
        _ => csv::<R>(text)?,
    };
    ensure!(!lines.is_empty(), "{} contains no {}", file.display(), R::NOUN);
    let objects = check::<R>(lines, partner)?;
    // The bar is written to standard error, and only if that is a terminal.
    let template = format!("{{wide_bar}} {{human_pos}}/{{human_len}} {}, {{eta}} left", R::NOUN);
    let style = ProgressStyle::with_template(&template)?;
    let progress = ProgressBar::new(objects.len() as u64).with_style(style);
    // Events wait for a transaction that writes, so that it does nothing else.
    let now = store::now(&mut *connection).await?;
    let chunks: Vec<_> = objects.chunks(CHUNK_SIZE).map(|chunk| Chunk::of(chunk, now)).collect();
    let mut tx = connection.begin().await?;
    for chunk in chunks {
        let chunk = chunk?;
        chunk.create(&mut tx).await?;
        progress.inc(chunk.lines.len() as u64);
    }
    tx.commit().await?;
    progress.finish_and_clear();
    Ok(objects.len())
}

/// Returns the text of a file.
///
/// # Errors
/// A message with the first line that is not UTF-8.
fn utf8(bytes: &[u8]) -> anyhow::Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + line_ends(&bytes[..error.valid_up_to()]);
        anyhow!("nothing was imported\nline {line}: contains bytes that are not UTF-8")
    })
}

/// Counts the ends of lines: LF, CRLF, or CR alone.
fn line_ends(text: &[u8]) -> u64 {
    let ends = text.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count();
    (ends - text.windows(2).filter(|pair| pair == b"\r\n").count()) as u64
}

/// The objects that one statement creates.
struct Chunk<'a, R> {
    lines: &'a [Line<R>],
    encoded: NewObjects<R>,
}

impl<'a, R: Resource> Chunk<'a, R> {
    fn of(lines: &'a [Line<R>], date: OffsetDateTime) -> anyhow::Result<Self> {
        let objects = lines.iter().map(|(_, object)| object.clone()).collect();
        let encoded = store::encode(&Actor::operator(), objects, date).map_err(cli_error)?;
        Ok(Self { lines, encoded })
    }

    /// Creates the objects. If that fails, creates them one by one to find the invalid line.
    async fn create(&self, tx: &mut PgConnection) -> anyhow::Result<()> {
        let mut attempt = tx.begin().await?;
        match store::insert(&mut attempt, &self.encoded).await {
            Ok(()) => return Ok(attempt.commit().await?),
            Err(ApiError::Invalid(_) | ApiError::Conflict(_)) => attempt.rollback().await?,
            Err(error) => return Err(cli_error(error)),
        }
        for (line, object) in self.lines {
            let created = store::create_one(&mut *tx, &Actor::operator(), object.clone()).await;
            created
                .map_err(cli_error)
                .with_context(|| format!("nothing was imported\nline {line}"))?;
        }
        Ok(())
    }
}

/// Reads the members of each line as an object.
///
/// # Errors
/// A message with the number of each invalid line.
fn check<R: Imported>(
    lines: Vec<Line<Object>>,
    partner: Option<Uuid>,
) -> anyhow::Result<Vec<Line<R>>> {
    let mut objects = Vec::with_capacity(lines.len());
    let mut invalid = Vec::new();
    for (line, members) in lines {
        let object = members.and_then(|members| R::read(members, partner));
        match object {
            Ok(object) => objects.push((line, object)),
            Err(error) => invalid.push(format!("line {line}: {}", one_line(&error.errors()))),
        }
    }
    if !invalid.is_empty() {
        let more = invalid.len().saturating_sub(MAX_REPORTED);
        invalid.truncate(MAX_REPORTED);
        if more > 0 {
            invalid.push(format!("and {more} more invalid lines"));
        }
        bail!("nothing was imported\n{}", invalid.join("\n"));
    }
    Ok(objects)
}

/// Parses one JSON object per line.
fn ndjson(text: &str) -> Vec<Line<Object>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| (number, parse_object(line.as_bytes()))).collect()
}

/// Parses CSV (RFC 4180). The first line names the members. The member of an empty cell is absent.
///
/// Spreadsheets write empty columns behind the last one with a name; they are ignored.
fn csv<R: Imported>(text: &str) -> anyhow::Result<Vec<Line<Object>>> {
    check_quotes(text)?;
    // The number of cells is checked below: empty ones are not an error.
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let names = column_names(reader.headers()?)?;
    let mut lines = Vec::new();
    let mut number = LineNumber::new(text);
    for record in reader.records() {
        let record = record.context("nothing was imported")?;
        let start = record.position().map_or(0, csv::Position::byte);
        let line = number.at(start as usize);
        lines.push((line, members::<R>(&names, &record)));
    }
    Ok(lines)
}

/// Returns the names of the columns, without empty ones at the end.
fn column_names(header: &csv::StringRecord) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<_> = header.iter().map(str::to_owned).collect();
    while names.pop_if(|name| name.is_empty()).is_some() {}
    for (index, name) in names.iter().enumerate() {
        ensure!(
            !name.is_empty(),
            "nothing was imported: column {} has no name; expected the name of a member",
            index + 1
        );
        ensure!(
            !names[..index].contains(name),
            "nothing was imported: the file has several columns `{name}`; expected one"
        );
    }
    Ok(names)
}

/// Returns the members in the cells of a line.
fn members<R: Imported>(names: &[String], record: &csv::StringRecord) -> Object {
    let is_surplus = record.iter().skip(names.len()).any(|cell| !cell.is_empty());
    if record.len() < names.len() || is_surplus {
        let message = format!("has {} cells; expected {}", record.len(), names.len());
        return Err(ApiError::BadRequest(FieldError::general(message)));
    }
    let cells = names.iter().zip(record).filter(|(_, cell)| !cell.is_empty());
    let members = cells.map(|(name, cell)| {
        if cell.contains('\0') {
            let message = r"must not contain the character \u0000";
            return Err(ApiError::invalid(name.clone(), message));
        }
        Ok((name.clone(), R::cell(name, cell)?))
    });
    members.collect()
}

/// Checks that cells are quoted as a whole or not at all. The parser would guess otherwise: it
/// reads a quote that is never closed to the end of the file, and so loses lines.
///
/// # Errors
/// A message with the number of the line.
fn check_quotes(text: &str) -> anyhow::Result<()> {
    /// The place of the next character.
    enum Place {
        Start,
        Unquoted,
        /// In the quoted cell that starts on that line.
        Quoted(u64),
        /// Behind a quote that ends the cell, unless another one follows.
        Closed(u64),
    }
    let (mut place, mut line, mut previous) = (Place::Start, 1, ' ');
    for character in text.chars() {
        place = match (place, character) {
            (Place::Start, '"') => Place::Quoted(line),
            (Place::Quoted(start), '"') => Place::Closed(start),
            (Place::Closed(start), '"') => Place::Quoted(start),
            (Place::Quoted(start), _) => Place::Quoted(start),
            (_, ',' | '\r' | '\n') => Place::Start,
            (Place::Closed(_), _) => bail!(
                "nothing was imported\nline {line}: text follows a closing quote; expected a comma \
                 or the end of the line"
            ),
            (Place::Unquoted, '"') => bail!(
                "nothing was imported\nline {line}: a quote is inside a cell that does not start \
                 with one; expected a quoted cell with the quote doubled"
            ),
            (Place::Start | Place::Unquoted, _) => Place::Unquoted,
        };
        line += u64::from(character == '\r' || (character == '\n' && previous != '\r'));
        previous = character;
    }
    if let Place::Quoted(start) = place {
        bail!("nothing was imported\nline {start}: a quote is not closed before the file ends");
    }
    Ok(())
}

/// Counts the lines of a text.
struct LineNumber<'a> {
    text: &'a [u8],
    at: usize,
    number: u64,
}

impl<'a> LineNumber<'a> {
    fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0, number: 1 }
    }

    /// Returns the line of the record that starts at byte `start`, or after line ends at that byte.
    fn at(&mut self, start: usize) -> u64 {
        let line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let blank = self.text[start..].iter().take_while(|byte| line_end(byte)).count();
        self.number += line_ends(&self.text[self.at..start + blank]);
        self.at = start + blank;
        self.number
    }
}
