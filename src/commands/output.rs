//! The output of commands: results on standard output, as text or JSON, and errors in one line.

use std::io::{ErrorKind, Write, stdout};

use anyhow::anyhow;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::auth::Actor;
use crate::error::{ApiError, FieldError};
use crate::store::{self, Resource};

/// Standard output, in the format that the caller selects.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub json: bool,
}

impl Output {
    /// Prints a sentence, or the same result as JSON.
    pub fn sentence(self, value: &impl Serialize, sentence: &str) -> anyhow::Result<()> {
        if self.json { self.line(&serde_json::to_string(value)?) } else { self.line(sentence) }
    }

    /// Prints JSON in one line.
    pub fn json_line(self, value: &impl Serialize) -> anyhow::Result<()> {
        self.line(&serde_json::to_string(value)?)
    }

    /// Prints a JSON document, indented unless JSON is selected.
    pub fn document(self, value: &impl Serialize) -> anyhow::Result<()> {
        let indented = serde_json::to_string_pretty(value)?;
        self.sentence(value, &indented)
    }

    /// Prints the object of that sid.
    pub async fn show<R: Resource + Serialize>(
        self,
        connection: &mut PgConnection,
        sid: Uuid,
    ) -> anyhow::Result<()> {
        let found = store::get::<R>(connection, &Actor::operator(), sid).await;
        self.document(&found.map_err(cli_error)?.object)
    }

    /// Prints a line with these members of each object that is visible to the actor, or all objects
    /// as JSON. The objects are printed while they are read, so that any number of them takes
    /// little memory.
    pub async fn list<R: Resource, Shown: Serialize>(
        self,
        connection: &mut PgConnection,
        actor: &Actor,
        members: &[&str],
        shown: impl Fn(R) -> Shown,
    ) -> anyhow::Result<()> {
        store::open_list::<R>(connection, actor).await.map_err(cli_error)?;
        let mut separator = "[";
        loop {
            let objects = store::next_batch::<R>(connection).await.map_err(cli_error)?;
            let (is_last, mut text) = (objects.is_empty(), String::new());
            for object in objects {
                let object = serde_json::to_value(shown(object))?;
                if self.json {
                    text += separator;
                    text += &object.to_string();
                    separator = ",";
                } else {
                    let cells: Vec<String> =
                        members.iter().map(|name| cell(&object[name])).collect();
                    text += &cells.join("  ");
                    text.push('\n');
                }
            }
            if is_last && self.json {
                text = if separator == "[" { "[]\n" } else { "]\n" }.to_owned();
            }
            if !print(&text)? || is_last {
                return Ok(());
            }
        }
    }

    fn line(self, text: &str) -> anyhow::Result<()> {
        print(&format!("{text}\n")).map(|_| ())
    }
}

/// Prints the text. Returns false if its reader has closed the pipe, which is not an error: `head`
/// does so.
pub(super) fn print(text: &str) -> anyhow::Result<bool> {
    match stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Converts an error of the store to a message of one line.
pub(super) fn cli_error(error: ApiError) -> anyhow::Error {
    match error {
        ApiError::Internal(cause) => cause,
        ApiError::Unavailable(Some(cause)) => cause.into(),
        ApiError::NoItem => anyhow!("no object has this sid"),
        error => anyhow!(one_line(&error.errors())),
    }
}

/// Joins the errors of an object in one line.
pub(super) fn one_line(errors: &[FieldError]) -> String {
    let messages = errors.iter().map(|FieldError { field, message, .. }| match field {
        Some(field) => format!("{field}: {message}"),
        None => message.clone(),
    });
    messages.collect::<Vec<_>>().join("; ")
}
