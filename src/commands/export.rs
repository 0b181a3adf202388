//! `shortline export`: all objects of a partner.

use std::io::{BufWriter, Write, stdout};

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::output::cli_error;
use crate::auth::Actor;
use crate::did_groups::DidGroup;
use crate::dids::Did;
use crate::partners::Partner;
use crate::short_codes::ShortCode;
use crate::store::{self, Resource};

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
    let mut output = BufWriter::new(stdout().lock());
    write::<Did>(&mut tx, partner_sid, &mut output).await?;
    write::<DidGroup>(&mut tx, partner_sid, &mut output).await?;
    write::<Partner>(&mut tx, partner_sid, &mut output).await?;
    write::<ShortCode>(&mut tx, partner_sid, &mut output).await?;
    output.flush()?;
    Ok(tx.commit().await?)
}

async fn write<R: Resource>(
    connection: &mut PgConnection,
    partner_sid: Uuid,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    let write = |snapshot: store::SnapshotObject| {
        let store::SnapshotObject { object, version, .. } = snapshot;
        let (sid, partner_sid) = (object.sid, object.partner_sid);
        let line = Line { kind: R::KIND, object: object.text, partner_sid, sid, version };
        serde_json::to_writer(&mut *output, &line)?;
        Ok(output.write_all(b"\n")?)
    };
    store::snapshot::<R>(connection, partner_sid, write).await
}
