//! What can go wrong with a request: one enum, one mapping to status and body.

use std::borrow::Cow;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// How long a client should wait before it tries again after a 503, in seconds.
const RETRY_AFTER_SECONDS: u64 = 1;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The member, dotted for nested ones, or the query argument.
    #[schema(required)]
    pub field: Option<Cow<'static, str>>,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The object that stands in the way, where there is one.
    #[schema(required)]
    pub reference_sid: Option<Uuid>,
}

impl FieldError {
    /// What is wrong with the member or query argument `field`.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { field: Some(field.into()), message: message.into(), reference_sid: None }
    }

    /// What is wrong with the request as a whole.
    pub fn general(message: impl Into<String>) -> Self {
        Self { field: None, message: message.into(), reference_sid: None }
    }
}

/// The body of every answer that is an error.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    /// The kind of error, the same for every one of its status.
    #[schema(example = "no item error")]
    pub message: Cow<'static, str>,
    /// What is wrong, one entry each.
    pub errors: Vec<FieldError>,
    /// What RFC 6749 calls it, at the endpoints that make tokens.
    #[schema(value_type = OauthError, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<OauthError>,
}

/// The names of RFC 6749 (section 5.2) for what can go wrong when a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OauthError {
    /// A field is missing, repeated or makes no sense.
    InvalidRequest,
    /// The client is not who it says, or says nothing.
    InvalidClient,
    /// The password is wrong, or the refresh token is no good.
    InvalidGrant,
    /// A scope is unknown, or not to be had.
    InvalidScope,
    /// The client is none of this partner's.
    UnauthorizedClient,
    /// There is no such grant.
    UnsupportedGrantType,
}

/// The same as RFC 9457 has it, for a caller whose `Accept` names `application/problem+json`.
#[derive(Serialize, ToSchema)]
pub struct ProblemBody {
    /// What is wrong, one entry each.
    pub errors: Vec<FieldError>,
    /// The status of the answer.
    pub status: u16,
    /// The kind of error, the same for every one of its status.
    pub title: String,
    /// Always `about:blank`: the status says it all.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// Every way a request can fail, each with its own status.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: the syntax of the body, of a query argument or of a header.
    #[error("bad request")]
    BadRequest(FieldError),
    /// 401: no token, or one that is malformed, expired, revoked or unknown.
    #[error("unauthorized")]
    Unauthorized {
        /// A bearer token was sent, and it is no good.
        presented: bool,
    },
    /// 401: a secret or password that is wrong or missing.
    #[error("bad credentials")]
    BadCredentials,
    /// Another error, with its name in RFC 6749.
    #[error("{cause}")]
    Oauth {
        /// The name.
        code: OauthError,
        /// The error.
        #[source]
        cause: Box<ApiError>,
    },
    /// 403: the token is good, but carries none of these scopes.
    #[error("forbidden")]
    Forbidden {
        /// The scopes of which one is needed.
        any_of: Vec<&'static str>,
    },
    /// 404: no object of that sid, as far as the caller can see.
    #[error("no item error")]
    NoItem,
    /// 404: no such path.
    #[error("not found")]
    NotFound,
    /// 405: the path is known, the method is not.
    #[error("method not allowed")]
    MethodNotAllowed {
        /// The methods that the path knows.
        allow: Vec<String>,
    },
    /// 408: the body took too long to arrive.
    #[error("request timeout")]
    Timeout,
    /// 409: the change collides with another object.
    #[error("conflict")]
    Conflict(FieldError),
    /// 409: an earlier request under the same idempotency key has not been answered yet.
    #[error("conflict")]
    InFlight(FieldError),
    /// 412: the object is not at the version that the request is for.
    #[error("precondition failed")]
    PreconditionFailed,
    /// 428: the object's owner wants every change to say which version it is for.
    #[error("precondition required")]
    PreconditionRequired,
    /// 413: the body is larger than we take.
    #[error("payload too large")]
    PayloadTooLarge,
    /// 415: the body is in no format that we read.
    #[error("unsupported media type")]
    UnsupportedMediaType {
        /// The formats that we read.
        accepted: &'static str,
    },
    /// 422: members of the body, all that are wrong at once.
    #[error("object validation error")]
    Invalid(Vec<FieldError>),
    /// 429: the partner makes more requests than its rate allows.
    #[error("too many requests")]
    TooManyRequests {
        /// When the next one would pass, in whole seconds, at least 1.
        retry_after: u64,
    },
    /// 503: the database is away or busy, or we are about to stop. Nothing is known to have happened.
    #[error("service unavailable")]
    Unavailable(#[source] Option<sqlx::Error>),
    /// 500: our own mistake. The cause is logged and never told.
    #[error("internal server error")]
    Internal(#[source] anyhow::Error),
}

impl ApiError {
    /// A 400 that names the query argument or header.
    pub fn bad_argument(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::BadRequest(FieldError::new(field, message))
    }

    /// A 422 for one member.
    pub fn invalid(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// The body of the answer.
    pub fn body(&self) -> ErrorBody {
        let error = match self {
            Self::Oauth { code, .. } => Some(*code),
            _ => None,
        };
        ErrorBody { message: self.to_string().into(), errors: self.errors(), error }
    }

    /// What broke on our side, where something did. It is logged and never told.
    pub fn internal_cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Internal(error) => Some(&**error),
            Self::Unavailable(Some(error)) => Some(error),
            Self::Oauth { cause, .. } => cause.internal_cause(),
            _ => None,
        }
    }

    /// The error as RFC 9457 has it.
    pub fn problem(&self) -> ProblemBody {
        let (errors, status) = (self.errors(), self.status_code().as_u16());
        ProblemBody { errors, status, title: self.to_string(), kind: "about:blank" }
    }

    /// The same error, by its name in RFC 6749.
    pub fn with_oauth_code(self, code: OauthError) -> Self {
        Self::Oauth { code, cause: Box::new(self) }
    }

    /// The single things that are wrong, for the answer and for the command line.
    pub fn errors(&self) -> Vec<FieldError> {
        let message = match self {
            Self::BadRequest(error) | Self::Conflict(error) | Self::InFlight(error) => {
                return vec![error.clone()];
            }
            Self::Invalid(errors) => return errors.clone(),
            Self::Internal(_) => return Vec::new(),
            Self::Oauth { cause, .. } => return cause.errors(),
            Self::BadCredentials => "the secret or password is wrong or missing".to_owned(),
            Self::Unauthorized { presented: false } => "a bearer token is needed".to_owned(),
            Self::Unauthorized { presented: true } => "the bearer token is not valid".to_owned(),
            Self::Forbidden { any_of } => {
                format!("one of these scopes is required: {}", any_of.join(", "))
            }
            Self::NoItem => "cannot find item by sid".to_owned(),
            Self::NotFound => "no such path".to_owned(),
            Self::MethodNotAllowed { allow } => format!("this path takes {}", allow.join(", ")),
            Self::Timeout => "the body did not arrive in time".to_owned(),
            Self::PreconditionFailed => {
                "the object has another version than If-Match names; read it again".to_owned()
            }
            Self::PreconditionRequired => {
                "If-Match must name the version that is to be changed: its ETag".to_owned()
            }
            Self::PayloadTooLarge => "the body is larger than 256 KiB".to_owned(),
            Self::UnsupportedMediaType { accepted } => format!("the body must be {accepted}"),
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
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
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
            // RFC 6750, section 3: no error code where no token was sent.
            Self::Unauthorized { presented: false } => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            Self::Unauthorized { presented: true } => {
                response
                    .insert_header((header::WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#));
            }
            Self::Oauth { cause, .. } => cause.add_headers(response),
            // RFC 6749, section 5.2: as the client is to authenticate.
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
        if is_passing(&error) {
            Self::Unavailable(Some(error))
        } else {
            Self::Internal(error.into())
        }
    }
}

/// Whether the database is away, read-only or too busy, rather than asked for something wrong.
fn is_passing(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    match error {
        Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed => true,
        Database(error) => error.code().is_some_and(|code| {
            // Connection lost, resources, operator intervention (a shutdown, a cancelled statement); then: serialization,
            // deadlock, lock not available, read-only, a transaction that was idle while this process was frozen.
            ["08", "53", "57"].iter().any(|class| code.starts_with(class))
                || ["40001", "40P01", "55P03", "25006", "25P03"].contains(&code.as_ref())
        }),
        _ => false,
    }
}
