//! `shortline export`: all objects of a partner.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::output::{cli_error, print};
use crate::auth::Actor;
use crate::did_groups::DidGroup;
use crate::dids::Did;
use crate::partners::Partner;
use crate::short_codes::ShortCode;
use crate::store::{self, Resource, SnapshotObject};

/// A line of the export.
#[derive(Serialize)]
struct Line {
    kind: &'static str,
    object: Box<RawValue>,
    partner_sid: Uuid,
    sid: Uuid,
    version: i64,
}

/// Prints the objects of the partner and its descendants at one point in time, one on each line, by
/// kind and sid.
pub async fn run(connection: &mut PgConnection, partner_sid: Uuid) -> anyhow::Result<()> {
    let operator = Actor::operator();
    store::get::<Partner>(&mut *connection, &operator, partner_sid).await.map_err(cli_error)?;
    let mut tx = connection.begin_with("begin isolation level repeatable read read only").await?;
    store::open_export::<Did>(&mut tx, partner_sid).await.map_err(cli_error)?;
    store::open_export::<DidGroup>(&mut tx, partner_sid).await.map_err(cli_error)?;
    store::open_export::<Partner>(&mut tx, partner_sid).await.map_err(cli_error)?;
    store::open_export::<ShortCode>(&mut tx, partner_sid).await.map_err(cli_error)?;
    tx.commit().await?;
    let _ = write::<Did>(connection).await?
        && write::<DidGroup>(connection).await?
        && write::<Partner>(connection).await?
        && write::<ShortCode>(connection).await?;
    Ok(())
}

/// Returns false if the reader of the output has closed it.
async fn write<R: Resource>(connection: &mut PgConnection) -> anyhow::Result<bool> {
    loop {
        let objects = store::next_exported::<R>(connection).await.map_err(cli_error)?;
        if objects.is_empty() {
            return Ok(true);
        }
        let mut text = String::new();
        for SnapshotObject { object, version, .. } in objects {
            let (sid, partner_sid) = (object.sid, object.partner_sid);
            let line = Line { kind: R::KIND, object: object.text, partner_sid, sid, version };
            text += &serde_json::to_string(&line)?;
            text.push('\n');
        }
        if !print(&text)? {
            return Ok(false);
        }
    }
}
