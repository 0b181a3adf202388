//! The endpoints of OAuth.

use actix_web::http::StatusCode;
use actix_web::web::Json;
use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::grants::Grant;
use super::revocation::Revoker;
use super::{Grants, OauthToken, TokenChanges};
use crate::auth::{AnyToken, OauthCreate, OauthRead, OauthUpdate, Scopes};
use crate::error::ApiError;
use crate::http::openapi::BadCredentials;
use crate::http::{
    Caller, Form, ListOf, ListParameters, ListRequest, Listing, MergePatch, NoArguments,
    ObjectRequest, Sid, UpdateParameters, View, ViewParameters,
};
use crate::input::types::Name;
use crate::partners::Partner;
use crate::store::{Store, WriteOptions, WriteResponse};

// What the OpenAPI document calls the bodies.
type OauthTokenList = ListOf<OauthToken>;
type OauthTokenView = View<OauthToken>;
type OauthTokenPatch = MergePatch<TokenChanges>;

/// What the form of a token request may hold.
#[derive(ToSchema)]
pub struct TokenForm {
    /// How long the token lives, in seconds: 1 to 3,153,600,000, by default 3,600.
    #[schema(value_type = u64, required = false, minimum = 1, maximum = 3_153_600_000_u64)]
    pub access_token_expires_in: Option<u64>,
    /// The client, where it does not prove itself by HTTP Basic.
    #[schema(value_type = String, required = false)]
    pub client_id: Option<String>,
    /// Its secret.
    #[schema(value_type = String, required = false)]
    pub client_secret: Option<String>,
    /// How the client proves that it may have a token.
    #[schema(value_type = Grant)]
    pub grant_type: String,
    /// What the token is called.
    #[schema(value_type = Name, required = false)]
    pub name: Option<Name>,
    /// The password of `username`.
    #[schema(value_type = String, required = false)]
    pub password: Option<String>,
    /// For the grant of that name.
    #[schema(value_type = String, required = false)]
    pub refresh_token: Option<String>,
    /// Names with blanks or commas between them; by default all that are to be had.
    #[schema(value_type = String, required = false)]
    pub scope: Option<String>,
    /// A partner's login, for the grant `password`.
    #[schema(value_type = String, required = false)]
    pub username: Option<String>,
}

/// What the form of a request for a sub-partner's token may hold: nothing is needed.
#[derive(ToSchema)]
pub struct SubPartnerTokenForm {
    /// How long the token lives, in seconds: 1 to 3,153,600,000, by default 3,600.
    #[schema(value_type = u64, required = false, minimum = 1, maximum = 3_153_600_000_u64)]
    pub access_token_expires_in: Option<u64>,
    /// A client of the caller's partner.
    #[schema(value_type = String, required = false)]
    pub client_id: Option<String>,
    /// Its secret.
    #[schema(value_type = String, required = false)]
    pub client_secret: Option<String>,
    /// A grant that we know; the bearer token is what counts.
    #[schema(value_type = Grant, required = false)]
    pub grant_type: Option<String>,
    /// What the token is called.
    #[schema(value_type = Name, required = false)]
    pub name: Option<Name>,
    /// Names with blanks or commas between them; by default all that both the caller and the sub-partner hold.
    #[schema(value_type = String, required = false)]
    pub scope: Option<String>,
}

/// What the form of a revocation may hold.
#[derive(ToSchema)]
pub struct RevocationForm {
    /// An access token or refresh token; by default the calling token.
    #[schema(value_type = String, required = false)]
    pub token: Option<String>,
    /// Accepted, and not needed.
    #[schema(value_type = String, required = false)]
    pub token_type_hint: Option<String>,
}

/// Makes a token: RFC 6749, for a client, a login or a refresh token.
#[utoipa::path(
    tag = "OAuth",
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    security(("client" = []), ()),
    responses((status = OK, body = OauthToken), BadCredentials),
)]
#[post("/token")]
pub async fn post_token(
    request: HttpRequest,
    _: NoArguments,
    form: Form,
    grants: web::Data<Grants>,
) -> Result<Json<OauthToken>, ApiError> {
    grants.token(&request, &form).await.map(Json)
}

/// Makes a token of a sub-partner, for the bearer of one of its ancestor.
#[utoipa::path(
    tag = "OAuth",
    params(("partner_sid" = Uuid, Path, description = "The sub-partner secure ID")),
    request_body(content = Option<SubPartnerTokenForm>, content_type = "application/x-www-form-urlencoded"),
    security(
        ("bearer" = ["oauth.manage_all_tokens"]),
        ("bearer" = ["oauth.manage"]),
        ("bearer" = ["oauth.create"]),
    ),
    responses((status = OK, body = OauthToken)),
)]
#[post("/token/{partner_sid}")]
pub async fn post_sub_partner_token(
    caller: Caller<OauthCreate>,
    sid: Sid,
    _: NoArguments,
    form: Form,
    grants: web::Data<Grants>,
) -> Result<Json<OauthToken>, ApiError> {
    grants.sub_partner_token(&caller, sid.0, &form).await.map(Json)
}

/// The tokens of the caller's own partner and of its descendants, a page at a time, without their secrets.
#[utoipa::path(
    tag = "OAuth",
    params(ListParameters),
    security(
        ("bearer" = ["oauth.manage_all_tokens"]),
        ("bearer" = ["oauth.manage"]),
        ("bearer" = ["oauth.read"]),
    ),
    responses((status = OK, body = OauthTokenList)),
)]
#[get("/tokens")]
pub async fn list_tokens(
    caller: Caller<OauthRead>,
    list: ListRequest<OauthToken>,
    store: web::Data<Store<OauthToken>>,
) -> Result<Json<Listing>, ApiError> {
    list.respond(&store, &caller).await
}

/// The token of that sid, without its secrets.
#[utoipa::path(
    tag = "OAuth",
    params(("token_sid" = Uuid, Path, description = "The token secure ID"), ViewParameters),
    security(
        ("bearer" = ["oauth.manage_all_tokens"]),
        ("bearer" = ["oauth.manage"]),
        ("bearer" = ["oauth.read"]),
    ),
    responses((status = OK, body = OauthTokenView)),
)]
#[get("/tokens/{token_sid}")]
pub async fn get_token(
    caller: Caller<OauthRead>,
    sid: Sid,
    object: ObjectRequest<OauthToken>,
    store: web::Data<Store<OauthToken>>,
) -> Result<HttpResponse, ApiError> {
    object.respond(&store, &caller, sid.0).await
}

/// Changes the members that are sent. The scopes can only shrink.
#[utoipa::path(
    tag = "OAuth",
    params(("token_sid" = Uuid, Path, description = "The token secure ID"), UpdateParameters),
    request_body = OauthTokenPatch,
    security(
        ("bearer" = ["oauth.manage_all_tokens"]),
        ("bearer" = ["oauth.manage"]),
        ("bearer" = ["oauth.update"]),
    ),
    responses((status = OK, body = OauthToken)),
)]
#[patch("/tokens/{token_sid}")]
pub async fn patch_token(
    caller: Caller<OauthUpdate>,
    sid: Sid,
    body: MergePatch<TokenChanges>,
    store: web::Data<Store<OauthToken>>,
) -> Result<WriteResponse, ApiError> {
    let MergePatch { changes, options, .. } = body;
    // No answer of these endpoints is kept.
    let options = WriteOptions { key: None, ..options };
    let change = move |token: &mut OauthToken| token.change(changes.check_read_only(token)?);
    store.update(&caller, sid.0, options, change).await
}

/// Ends a token, RFC 7009: of a refresh token its whole family. Says nothing of a token that is unknown.
#[utoipa::path(
    tag = "OAuth",
    request_body(content = Option<RevocationForm>, content_type = "application/x-www-form-urlencoded"),
    security(
        ("bearer" = ["oauth.manage_all_tokens"]),
        ("bearer" = ["oauth.manage"]),
        ("client" = []),
    ),
    responses((status = NO_CONTENT, description = "Ended")),
)]
#[post("/revoke")]
pub async fn post_revoke(
    revoker: Revoker,
    request: HttpRequest,
    _: NoArguments,
    form: Form,
    grants: web::Data<Grants>,
) -> Result<HttpResponse, ApiError> {
    grants.revoke(&request, revoker, &form).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// Who is calling.
#[derive(Serialize, ToSchema)]
pub struct Whoami {
    /// The partner of the token.
    partner: Partner,
    /// What the token may do: the scopes that its partner and every ancestor of it hold, too.
    scopes: Scopes,
    /// The token, without its secrets; `null` where another system made it.
    #[schema(required)]
    token: Option<OauthToken>,
}

/// Who is calling, and what the token may do.
#[utoipa::path(
    tag = "OAuth",
    security(("bearer" = [])),
    responses((status = OK, body = Whoami)),
)]
#[get("/whoami")]
pub async fn get_whoami(
    caller: Caller<AnyToken>,
    partners: web::Data<Store<Partner>>,
    tokens: web::Data<Store<OauthToken>>,
) -> Result<Json<Whoami>, ApiError> {
    let partner_sid = caller.partner_sid().ok_or(ApiError::NoItem)?;
    let partner = partners.get(&caller, partner_sid).await?.object;
    let token = match caller.token_sid() {
        Some(sid) => tokens.get(&caller, sid).await.map(|token| Some(token.object)),
        None => Ok(None),
    };
    let token = match token {
        // The sid was issued by another system.
        Err(ApiError::NoItem) => None,
        token => token?,
    };
    let scopes = caller.scopes().iter().copied().collect();
    Ok(Json(Whoami { partner, scopes, token }))
}
