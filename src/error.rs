//! [`ApiError`], the error type of all requests, with its mapping to status, headers and body.

use std::borrow::Cow;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use utoipa::ToSchema;
use uuid::Uuid;

/// The value of `Retry-After` if a retry can succeed at once: 503, or 409 for a key in use.
const RETRY_AFTER_SECONDS: u64 = 1;

/// One error of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The member, with dots before nested names, or the query argument or header. `null` if the
    /// error concerns the whole request.
    #[schema(required)]
    pub field: Option<Cow<'static, str>>,
    /// A description of the error and of what would be right.
    pub message: String,
    /// The object that causes a conflict, if it is visible to the caller.
    #[schema(required)]
    pub reference_sid: Option<Uuid>,
}

impl FieldError {
    /// Returns an error of the member, query argument or header `field`.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { field: Some(field.into()), message: message.into(), reference_sid: None }
    }

    /// Returns an error of the whole request.
    pub fn general(message: impl Into<String>) -> Self {
        Self { field: None, message: message.into(), reference_sid: None }
    }
}

/// The body of an error response.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    /// The kind of error.
    #[schema(example = "no item error")]
    pub message: Cow<'static, str>,
    /// The errors.
    pub errors: Vec<FieldError>,
    /// The error code of RFC 6749, at the endpoints that issue and revoke tokens.
    #[schema(value_type = OauthError, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<OauthError>,
}

/// The error codes of RFC 6749, section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OauthError {
    /// A field is missing, repeated or not valid.
    InvalidRequest,
    /// The client's credentials are wrong or missing.
    InvalidClient,
    /// The password is wrong, or the refresh token is not valid.
    InvalidGrant,
    /// A scope is unknown or cannot be granted.
    InvalidScope,
    /// The client belongs to another partner.
    UnauthorizedClient,
    /// The grant type is unknown.
    UnsupportedGrantType,
}

/// The body of an error response after RFC 9457, for requests that accept
/// `application/problem+json`.
#[derive(Serialize, ToSchema)]
pub struct ProblemBody {
    /// The errors.
    pub errors: Vec<FieldError>,
    /// The status of the response.
    pub status: u16,
    /// The kind of error.
    pub title: String,
    /// Always `about:blank`: the type of the error is its status.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// A header that makes a request conditional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// `If-Match`.
    IfMatch,
    /// `If-None-Match`.
    IfNoneMatch,
}

/// The error of a request.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: the syntax of the body, a query argument or a header is not valid.
    #[error("bad request")]
    BadRequest(FieldError),
    /// 401: the token is missing, malformed, expired, revoked or unknown.
    #[error("unauthorized")]
    Unauthorized {
        /// Whether the request has a bearer token.
        presented: bool,
    },
    /// 401: the client secret or password is wrong or missing.
    #[error("bad credentials")]
    BadCredentials,
    /// Another error, with its code of RFC 6749.
    #[error("{cause}")]
    Oauth {
        /// The code.
        code: OauthError,
        /// The error.
        #[source]
        cause: Box<ApiError>,
    },
    /// 403: the token is valid, but carries none of the required scopes.
    #[error("forbidden")]
    Forbidden {
        /// The scopes, one of which is required.
        any_of: Vec<&'static str>,
    },
    /// 404: no object of that sid is visible to the caller.
    #[error("no item error")]
    NoItem,
    /// 404: the path does not exist.
    #[error("not found")]
    NotFound,
    /// 405: the path has no such method.
    #[error("method not allowed")]
    MethodNotAllowed {
        /// The methods of the path.
        allow: Vec<&'static str>,
    },
    /// 408: the body was not received in time.
    #[error("request timeout")]
    Timeout,
    /// 409: the change conflicts with another object.
    #[error("conflict")]
    Conflict(FieldError),
    /// 409: another request with the same idempotency key is in progress.
    #[error("conflict")]
    InFlight(FieldError),
    /// 410: the events that a cursor stands before are not available any more, or it is not one of
    /// this reader's.
    #[error("resync")]
    Resync(&'static str),
    /// 412: the object has another version than `If-Match` names, or one that `If-None-Match`
    /// names.
    #[error("precondition failed")]
    PreconditionFailed(Precondition),
    /// 428: the partner requires `If-Match`, and the request has none.
    #[error("precondition required")]
    PreconditionRequired,
    /// 413: the body is too large.
    #[error("payload too large")]
    PayloadTooLarge,
    /// 415: the body has an unsupported media type.
    #[error("unsupported media type")]
    UnsupportedMediaType {
        /// The supported media types.
        accepted: &'static str,
    },
    /// 415: the body has a content coding.
    #[error("unsupported media type")]
    UnsupportedContentCoding,
    /// 422: members of the body are not valid. Contains an entry for each of them.
    #[error("object validation error")]
    Invalid(Vec<FieldError>),
    /// 429: the partner exceeds its rate, or too many of its requests wait at once.
    #[error("too many requests")]
    TooManyRequests {
        /// The time until the next request is admitted, in whole seconds, at least 1.
        retry_after: u64,
    },
    /// 503: the database is not available, or the service is overloaded or shutting down. It is
    /// unknown whether a write happened.
    #[error("service unavailable")]
    Unavailable(#[source] Option<sqlx::Error>),
    /// 500: an error in Shortline. The cause is logged but not returned.
    #[error("internal server error")]
    Internal(#[source] anyhow::Error),
}

impl ApiError {
    /// Returns a 400 for a query argument or header.
    pub fn bad_argument(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::BadRequest(FieldError::new(field, message))
    }

    /// Returns a 422 for one member.
    pub fn invalid(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// Returns the body of the response.
    pub fn body(&self) -> ErrorBody {
        let error = match self {
            Self::Oauth { code, .. } => Some(*code),
            _ => None,
        };
        ErrorBody { message: self.to_string().into(), errors: self.errors(), error }
    }

    /// Returns the cause of a 500 or 503, which is logged but not returned to the client.
    pub fn internal_cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Internal(error) => Some(&**error),
            Self::Unavailable(Some(error)) => Some(error),
            Self::Oauth { cause, .. } => cause.internal_cause(),
            _ => None,
        }
    }

    /// Returns the body of the response after RFC 9457.
    pub fn problem(&self) -> ProblemBody {
        let (errors, status) = (self.errors(), self.status_code().as_u16());
        ProblemBody { errors, status, title: self.to_string(), kind: "about:blank" }
    }

    /// Returns the same error with its code of RFC 6749.
    pub fn with_oauth_code(self, code: OauthError) -> Self {
        Self::Oauth { code, cause: Box::new(self) }
    }

    /// Returns the errors, for the response and the command line.
    pub fn errors(&self) -> Vec<FieldError> {
        let message = match self {
            Self::BadRequest(error) | Self::Conflict(error) | Self::InFlight(error) => {
                return vec![error.clone()];
            }
            Self::Invalid(errors) => return errors.clone(),
            Self::Internal(_) => return Vec::new(),
            Self::Oauth { cause, .. } => return cause.errors(),
            Self::BadCredentials => "the secret or password is wrong or missing".to_owned(),
            Self::Unauthorized { presented: false } => "a bearer token is required".to_owned(),
            Self::Unauthorized { presented: true } => "the bearer token is not valid".to_owned(),
            Self::Forbidden { any_of } => {
                format!("one of these scopes is required: {}", any_of.join(", "))
            }
            Self::NoItem => "cannot find item by sid".to_owned(),
            Self::NotFound => "the path does not exist".to_owned(),
            Self::MethodNotAllowed { allow } => format!("the path supports {}", allow.join(", ")),
            Self::Timeout => "the body was not received in time".to_owned(),
            Self::Resync(reason) => {
                let message = format!("{reason}; begin again with `snapshot=true`");
                return vec![FieldError::new("after", message)];
            }
            Self::PreconditionFailed(Precondition::IfNoneMatch) => {
                "If-None-Match names the version of the object; nothing was changed".to_owned()
            }
            Self::PreconditionFailed(Precondition::IfMatch) => {
                "the object has another version than If-Match names; read it again".to_owned()
            }
            Self::PreconditionRequired => {
                "If-Match is required; send the ETag of the version to change".to_owned()
            }
            Self::PayloadTooLarge => "the body is larger than 256 KiB".to_owned(),
            Self::UnsupportedMediaType { accepted } => format!("the body must be {accepted}"),
            Self::UnsupportedContentCoding => {
                let message = "must be absent or `identity`; send the body as it is";
                return vec![FieldError::new("Content-Encoding", message)];
            }
            Self::TooManyRequests { retry_after } => format!("try again in {retry_after} s"),
            Self::Unavailable(_) => "try again in a moment".to_owned(),
        };
        vec![FieldError::general(message)]
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized { .. } | Self::BadCredentials => StatusCode::UNAUTHORIZED,
            Self::Oauth { cause, .. } => cause.status_code(),
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::NoItem | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) | Self::InFlight(_) => StatusCode::CONFLICT,
            Self::Resync(_) => StatusCode::GONE,
            Self::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
            Self::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType { .. } | Self::UnsupportedContentCoding => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        self.add_headers(&mut response);
        response.json(self.body())
    }
}

impl ApiError {
    fn add_headers(&self, response: &mut HttpResponseBuilder) {
        match self {
            // RFC 6750, section 3: no error code for a request without a token.
            Self::Unauthorized { presented: false } => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            Self::Unauthorized { presented: true } => {
                response
                    .insert_header((header::WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#));
            }
            Self::Oauth { cause, .. } => cause.add_headers(response),
            // RFC 6749, section 5.2: the scheme with which clients authenticate.
            Self::BadCredentials => {
                response.insert_header((header::WWW_AUTHENTICATE, r#"Basic realm="shortline""#));
            }
            Self::Forbidden { any_of } => {
                let scopes = any_of.join(" ");
                let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scopes}""#);
                response.insert_header((header::WWW_AUTHENTICATE, challenge));
            }
            Self::MethodNotAllowed { allow } => {
                response.insert_header((header::ALLOW, allow.join(", ")));
            }
            Self::UnsupportedMediaType { accepted } if accepted.contains("merge-patch") => {
                response.insert_header(("Accept-Patch", *accepted));
            }
            // RFC 9110, section 12.5.3.
            Self::UnsupportedContentCoding => {
                response.insert_header((header::ACCEPT_ENCODING, "identity"));
            }
            Self::TooManyRequests { retry_after } => {
                response.insert_header((header::RETRY_AFTER, *retry_after));
            }
            Self::Unavailable(_) | Self::InFlight(_) => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
            }
            _ => {}
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        if is_transient(&error) {
            Self::Unavailable(Some(error))
        } else {
            Self::Internal(error.into())
        }
    }
}

/// Returns whether the error is due to the state of the database or the connection to it, not to
/// the statement.
fn is_transient(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    match error {
        Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed => true,
        Database(cause) => {
            ends_session(error)
                || cause.code().is_some_and(|code| {
                    // The classes of lost connections, exhausted resources and operator
                    // intervention (cancelled statement). The codes for serialization failure,
                    // deadlock, lock not available and read-only.
                    ["08", "53", "57"].iter().any(|class| code.starts_with(class))
                        || ["40001", "40P01", "55P03", "25006"].contains(&code.as_ref())
                })
        }
        _ => false,
    }
}

/// Returns whether the connection is lost, or PostgreSQL has ended its session. It is unknown
/// whether the statement was executed.
pub fn is_connection_lost(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_)) || ends_session(error)
}

/// Returns whether PostgreSQL has ended the session, or not begun it. The severity says so for
/// every code: a shutdown, a timeout of an idle session or transaction, a wrong password.
fn ends_session(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref());
    error.is_some_and(|error: &PgDatabaseError| {
        matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
    })
}

/// Returns whether a lock that another transaction holds was waited for too long.
pub fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).as_deref() == Some("55P03")
}

/// Returns whether the session had ended because it was idle: the statement was not executed.
pub fn has_ended_while_idle(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).as_deref() == Some("57P05")
}
