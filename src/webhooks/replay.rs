//! Replays: requests to deliver past events again. Each has a cursor of its own.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::endpoint::EventEndpoint;
use super::input::ReplayRequest;
use super::source::Selection;
use crate::error::{ApiError, FieldError};
use crate::input::date;
use crate::store::{IS_EVENT, Position};

/// The most replays of an endpoint that are not complete.
const MAX_REPLAYS: i64 = 10;
/// The most by which the dates of two entries can be in another order than their places: how long a
/// transaction can write, and how far a clock can jump.
const SLACK: Duration = Duration::days(1);

/// A replay that is not complete.
#[derive(Debug, FromRow)]
pub struct Replay {
    sid: Uuid,
    types: String,
    after: OffsetDateTime,
    before: OffsetDateTime,
    #[sqlx(flatten)]
    cursor: Position,
}

impl Replay {
    /// Adds a replay of that endpoint.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if no event can be in the range; [`ApiError::Conflict`] if there are
    /// too many replays.
    pub async fn add(
        connection: &mut PgConnection,
        endpoint: &EventEndpoint,
        request: ReplayRequest,
    ) -> Result<(), ApiError> {
        let EventEndpoint { endpoint_sid, partner_sid, types, .. } = endpoint;
        let ReplayRequest { after, before, types: selected } = request;
        let before = before.map_or_else(date::now, |before| before.0);
        if after.0 >= before {
            return Err(ApiError::invalid("after", "must be before `before`"));
        }
        let epoch = epoch_before(connection, *partner_sid, after.0 - SLACK).await?;
        let added = sqlx::query(
            "insert into event_replays (sid, endpoint_sid, types, after, before, cursor_epoch)
             select $1, $2, $3, $4, $5, $7
             where (select count(*) from event_replays where endpoint_sid = $2) < $6",
        )
        .bind(Uuid::now_v7())
        .bind(endpoint_sid)
        .bind(selected.as_ref().unwrap_or(types).as_str())
        .bind(after.0)
        .bind(before)
        .bind(MAX_REPLAYS)
        .bind(epoch)
        .execute(connection)
        .await?;
        if added.rows_affected() == 1 {
            return Ok(());
        }
        let message = format!("{MAX_REPLAYS} replays of the endpoint are not complete yet");
        Err(ApiError::Conflict(FieldError::general(message)))
    }

    /// Returns the oldest replay of the endpoint.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn oldest(
        connection: &mut PgConnection,
        endpoint_sid: Uuid,
    ) -> Result<Option<Self>, sqlx::Error> {
        let statement = "select sid, types, after, before, cursor_epoch, cursor_sid, cursor_version
                         from event_replays where endpoint_sid = $1 order by sid limit 1";
        sqlx::query_as(statement).bind(endpoint_sid).fetch_optional(connection).await
    }

    /// The place of the last entry that was delivered or passed.
    pub fn cursor(&self) -> Position {
        self.cursor
    }

    /// Returns the entries of the replay, of those that the endpoint gets.
    pub fn selection(&self, of_endpoint: &Selection) -> Selection {
        Selection { dates: (Some(self.after), Some(self.before)), ..of_endpoint.clone() }
    }

    /// Whether events of that type are delivered again.
    pub fn has(&self, name: &str) -> bool {
        self.types.split(' ').any(|selected| selected == name)
    }

    /// Moves the cursor, or deletes the replay if it is over.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn advance(
        &self,
        connection: &mut PgConnection,
        end: Option<Position>,
        is_over: bool,
    ) -> Result<(), sqlx::Error> {
        if is_over {
            let delete = "delete from event_replays where sid = $1";
            sqlx::query(delete).bind(self.sid).execute(connection).await?;
        } else if let Some(end) = end {
            let update = "update event_replays
                          set cursor_epoch = $2, cursor_sid = $3, cursor_version = $4
                          where sid = $1";
            sqlx::query(update)
                .bind(self.sid)
                .bind(end.epoch)
                .bind(end.sid)
                .bind(end.version)
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}

/// Returns the epoch of an entry of the partner from before that date, after which only few others
/// are as old; 0 if there is none. Dates have no index by which they could be found, but they are
/// nearly in the order of the epochs, so that a binary search finds the place.
async fn epoch_before(
    connection: &mut PgConnection,
    partner_sid: Uuid,
    date: OffsetDateTime,
) -> Result<i64, sqlx::Error> {
    let statement = format!(
        "select epoch, date < $3 from history
         where partner_sid = $1 and {IS_EVENT} and epoch >= $2
         order by epoch, sid, version limit 1"
    );
    let (mut low, mut high) = (0, i64::MAX);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let next: Option<(i64, bool)> = sqlx::query_as(AssertSqlSafe(&*statement))
            .bind(partner_sid)
            .bind(middle)
            .bind(date)
            .fetch_optional(&mut *connection)
            .await?;
        match next {
            Some((epoch, true)) => low = epoch,
            _ => high = middle,
        }
    }
    Ok(low)
}
