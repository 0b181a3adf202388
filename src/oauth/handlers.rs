//! The endpoints of OAuth.

use actix_web::http::StatusCode;
use actix_web::web::Json;
use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::forms::{RevocationForm, SubPartnerTokenForm, TokenForm};
use super::grants::Grants;
use super::limits::{Limits, Stores};
use super::revocation::Revoker;
use super::token::{OauthToken, TokenChanges};
use crate::auth::{AnyToken, OauthCreate, OauthRead, OauthUpdate, Scopes};
use crate::dids::Did;
use crate::error::ApiError;
use crate::http::openapi::BadCredentials;
use crate::http::{
    Caller, Form, IgnoredArguments, List, ListRequest, MergePatch, NoArguments, ObjectRequest, Sid,
    UpdateArguments, View,
};
use crate::partners::Partner;
use crate::store::{Store, WriteOptions, WriteResponse};
use crate::webhooks::EventEndpoint;

// The names of the bodies in the OpenAPI document.
type OauthTokenList = List<OauthToken>;
type OauthTokenView = View<OauthToken>;
type OauthTokenPatch = MergePatch<TokenChanges>;

/// Issues a token (RFC 6749) for a client, a login or a refresh token.
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
    Form(form): Form<TokenForm>,
    grants: web::Data<Grants>,
) -> Result<Json<OauthToken>, ApiError> {
    grants.token(&request, &form).await.map(Json)
}

/// Issues a token of a sub-partner. The caller's token is the grant.
#[utoipa::path(
    tag = "OAuth",
    params(("partner_sid" = Uuid, Path, description = "The sub-partner secure ID")),
    request_body(
        content = Option<SubPartnerTokenForm>,
        content_type = "application/x-www-form-urlencoded",
    ),
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
    Form(form): Form<SubPartnerTokenForm>,
    grants: web::Data<Grants>,
) -> Result<Json<OauthToken>, ApiError> {
    grants.sub_partner_token(&caller, sid.0, &form).await.map(Json)
}

/// Returns a page of the tokens of the caller's own partner and its descendants, without their
/// secrets.
#[utoipa::path(
    tag = "OAuth",
    params(ListRequest<OauthToken>),
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
) -> Result<Json<List<OauthToken>>, ApiError> {
    list.respond(&store, &caller).await
}

/// Returns the token of that sid, without its secrets.
#[utoipa::path(
    tag = "OAuth",
    params(
        ("token_sid" = Uuid, Path, description = "The token secure ID"),
        ObjectRequest<OauthToken>,
    ),
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

/// Changes the members that are sent. Scopes can only be removed.
#[utoipa::path(
    tag = "OAuth",
    params(("token_sid" = Uuid, Path, description = "The token secure ID"), UpdateArguments),
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
    // Responses of the OAuth endpoints are never stored.
    let options = WriteOptions { key: None, ..options };
    let change = move |token: &mut OauthToken| token.change(changes.check_read_only(token)?);
    store.update(&caller, sid.0, options, change).await
}

/// Revokes a token (RFC 7009), or the whole family of a refresh token. An unknown token is no
/// error.
#[utoipa::path(
    tag = "OAuth",
    request_body(
        content = Option<RevocationForm>,
        content_type = "application/x-www-form-urlencoded",
    ),
    security(
        ("bearer" = ["oauth.manage_all_tokens"]),
        ("bearer" = ["oauth.manage"]),
        ("client" = []),
    ),
    responses((status = NO_CONTENT, description = "The token is revoked.")),
)]
#[post("/revoke")]
pub async fn post_revoke(
    revoker: Revoker,
    request: HttpRequest,
    _: NoArguments,
    Form(form): Form<RevocationForm>,
    grants: web::Data<Grants>,
) -> Result<HttpResponse, ApiError> {
    grants.revoke(&request, revoker, &form).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// The caller.
#[derive(Serialize, ToSchema)]
pub struct Whoami {
    /// The limits, and what is used of them.
    limits: Limits,
    /// The partner of the token.
    partner: Partner,
    /// The effective scopes: those that the token, its partner and every ancestor have in common.
    scopes: Scopes,
    /// The token, without its secrets. `null` if another system has issued it.
    #[schema(required)]
    token: Option<OauthToken>,
}

impl Whoami {
    async fn of(
        caller: &Caller<AnyToken>,
        request: &HttpRequest,
        tokens: &Store<OauthToken>,
        stores: Stores<'_>,
    ) -> Result<Self, ApiError> {
        let limits = Limits::of(caller, request, stores).await?;
        let partner_sid = caller.partner_sid().ok_or(ApiError::NoItem)?;
        let partner = stores.partners.get(caller, partner_sid).await?.object;
        let token = match caller.token_sid() {
            Some(sid) => tokens.get(caller, sid).await.map(|token| Some(token.object)),
            None => Ok(None),
        };
        let token = match token {
            // The sid was issued by another system.
            Err(ApiError::NoItem) => None,
            token => token?,
        };
        Ok(Self { limits, partner, scopes: caller.scopes().iter().copied().collect(), token })
    }
}

/// Returns the caller: the partner, the token, the effective scopes, and the limits.
#[utoipa::path(
    tag = "OAuth",
    security(("bearer" = [])),
    responses((status = OK, body = Whoami)),
)]
#[get("/whoami")]
pub async fn get_whoami(
    caller: Caller<AnyToken>,
    _: IgnoredArguments,
    request: HttpRequest,
    tokens: web::Data<Store<OauthToken>>,
    partners: web::Data<Store<Partner>>,
    dids: web::Data<Store<Did>>,
    endpoints: web::Data<Store<EventEndpoint>>,
) -> Result<Json<Whoami>, ApiError> {
    let stores = Stores { partners: &partners, dids: &dids, endpoints: &endpoints };
    Whoami::of(&caller, &request, &tokens, stores).await.map(Json)
}
