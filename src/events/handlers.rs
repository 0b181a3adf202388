//! The endpoint of events.

use actix_web::{HttpResponse, get, web};
use tokio::time::Instant;

use super::event::EventPage;
use super::follower::{Follower, Limits};
use super::request::{EventArguments, EventHeaders, Format, selection};
use super::stream;
use crate::auth::{Authenticator, EventsRead};
use crate::error::ApiError;
use crate::http::{Caller, Query};
use crate::shutdown::Shutdown;
use crate::store::Feed;

/// Returns the changes of the objects that are visible to the token, in an order in which none is
/// skipped.
///
/// The token also needs a scope to read the objects: `phonenumber.read`, `partners.read` or one
/// that includes it. With `Accept: application/x-ndjson` or `Accept: text/event-stream` the
/// response is a stream that continues while the token is valid.
#[utoipa::path(
    tag = "Events",
    params(
        EventArguments,
        ("Last-Event-ID" = Option<String>, Header,
            description = "The cursor behind which a stream continues, instead of `after`."),
    ),
    security(
        ("bearer" = ["events.manage", "phonenumber.read"]),
        ("bearer" = ["events.manage", "partners.read"]),
        ("bearer" = ["events.read", "phonenumber.read"]),
        ("bearer" = ["events.read", "partners.read"]),
    ),
    responses((status = OK, content(
        (EventPage = "application/json"),
        (String = "application/x-ndjson"),
        (String = "text/event-stream"),
    ))),
)]
#[get("/events")]
pub async fn list_events(
    caller: Caller<EventsRead>,
    Query(arguments): Query<EventArguments>,
    headers: EventHeaders,
    feed: web::Data<Feed>,
    authenticator: web::Data<Authenticator>,
    shutdown: web::Data<Shutdown>,
) -> Result<HttpResponse, ApiError> {
    let EventHeaders { format, last_event_id, token } = headers;
    let types = arguments.types()?;
    let selection = selection(&caller, &types)?;
    let start = arguments.start(last_event_id.as_deref())?;
    let (actor, feed) = (caller.clone(), (**feed).clone());
    let limit = arguments.limit();
    let mut follower = Follower::new(feed.clone(), actor, selection, types, limit, start)?;
    let waits = format != Format::Page || !arguments.wait().is_zero();
    let seat = waits.then(|| feed.take_seat(caller.own_partner_sid()?, &token)).transpose()?;
    let limits = Limits {
        shutdown: (**shutdown).clone(),
        authenticator: authenticator.into_inner(),
        token,
        principal: caller.principal(),
    };
    let deadline = Instant::now() + arguments.wait();
    match seat {
        Some(seat) if format != Format::Page => {
            let first = follower.next(Instant::now(), &limits).await?;
            Ok(stream::respond(follower, limits, format, seat, first))
        }
        _ => Ok(HttpResponse::Ok().json(follower.next(deadline, &limits).await?)),
    }
}
