//! Streams of events: JSON lines, or server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::ResponseError;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::event::EventPage;
use super::follower::{Follower, Limits};
use super::request::Format;
use crate::error::ApiError;
use crate::store::Seat;

/// The longest time without a line.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);

/// A line that says how far the stream has come, without an event.
#[derive(Serialize)]
struct Bookmark<'a> {
    cursor: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// The last line of a stream that cannot continue.
#[derive(Serialize)]
struct Failure {
    errors: Value,
    message: String,
    status: u16,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// A stream between two pages.
struct State {
    follower: Follower,
    limits: Limits,
    format: Format,
    _seat: Seat,
    /// The first page, which was read before the response began.
    first: Option<EventPage>,
    has_ended: bool,
}

/// Returns the response that begins with that page, and ends with the token, the client or the
/// service.
pub fn respond(
    follower: Follower,
    limits: Limits,
    format: Format,
    seat: Seat,
    first: EventPage,
) -> HttpResponse {
    let media_type = match format {
        Format::ServerSent => "text/event-stream",
        Format::Lines | Format::Page => "application/x-ndjson",
    };
    let state =
        State { follower, limits, format, _seat: seat, first: Some(first), has_ended: false };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media_type))
        // nginx would collect the lines otherwise.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(lines(state))
}

fn lines(state: State) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(state, async |mut state| {
        if state.has_ended {
            return None;
        }
        let page = match state.first.take() {
            Some(page) => Ok(page),
            None => {
                let deadline = Instant::now() + BOOKMARK_INTERVAL;
                state.follower.next(deadline, &state.limits).await
            }
        };
        state.has_ended = page.is_err() || state.limits.shutdown.has_begun();
        let text = match page.and_then(|page| state.format.page(&page)) {
            Ok(text) => text,
            Err(error) => {
                if let Some(cause) = error.internal_cause() {
                    tracing::error!(error = cause, "a stream of events ended");
                }
                state.format.failure(&error)
            }
        };
        Some((Ok(Bytes::from(text)), state))
    })
}

impl Format {
    /// The lines of a page; those of an empty one are a bookmark.
    fn page(self, page: &EventPage) -> Result<String, ApiError> {
        let mut text = String::new();
        for event in &page.items {
            self.push(&mut text, Some(&event.cursor), event)?;
        }
        if page.items.is_empty() {
            let bookmark = Bookmark { cursor: &page.cursor, kind: "bookmark" };
            self.push(&mut text, Some(&page.cursor), &bookmark)?;
        }
        Ok(text)
    }

    fn failure(self, error: &ApiError) -> String {
        let failure = Failure {
            errors: serde_json::to_value(error.errors()).unwrap_or_default(),
            message: error.to_string(),
            status: error.status_code().as_u16(),
            kind: "error",
        };
        let mut text = String::new();
        let _ = self.push(&mut text, None, &failure);
        text
    }

    fn push(
        self,
        text: &mut String,
        cursor: Option<&str>,
        value: &impl Serialize,
    ) -> Result<(), ApiError> {
        let json =
            serde_json::to_string(value).map_err(|error| ApiError::Internal(error.into()))?;
        if self == Self::ServerSent {
            if let Some(cursor) = cursor {
                text.push_str("id: ");
                text.push_str(cursor);
                text.push('\n');
            }
            text.push_str("data: ");
            text.push_str(&json);
            text.push('\n');
        } else {
            text.push_str(&json);
        }
        text.push('\n');
        Ok(())
    }
}
