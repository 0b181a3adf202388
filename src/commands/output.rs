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

    /// Prints a line with these members of each object, or all objects as JSON.
    pub fn rows(self, objects: &[impl Serialize], members: &[&str]) -> anyhow::Result<()> {
        let values = serde_json::to_value(objects)?;
        if self.json {
            return self.line(&values.to_string());
        }
        values.as_array().into_iter().flatten().try_for_each(|object| {
            let cells: Vec<String> = members.iter().map(|name| cell(&object[name])).collect();
            self.line(&cells.join("  "))
        })
    }

    /// A reader that closes the pipe, such as `head`, is not an error.
    fn line(self, text: &str) -> anyhow::Result<()> {
        match writeln!(stdout(), "{text}") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
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
