//! Why a request gets no answer: a status and a code for programs, reason and remedy for people.

use axum::extract::rejection::PathRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rovercast_protocol::signaling::{ErrorCode, ErrorMessage};
use serde::Serialize;

/// In how many seconds it may be worth to try again what fails for want of room.
const AGAIN_S: u16 = 5;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status of the response.
    pub(crate) status: StatusCode,
    /// What is wrong, for programs.
    pub(crate) code: ErrorCode,
    /// What is wrong and how to mend it, for people.
    pub(crate) details: String,
    /// Whether it is nothing that the broker refuses here: a peer's request that it refused and counted
    /// as such, or a robot's own words.
    relayed: bool,
}

/// Stands in the extensions of a response that is a refusal, for who counts them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused(pub(crate) ErrorCode);

/// Answers what asks with another method than the path knows.
pub(crate) async fn no_such_method() -> Refusal {
    let details = "this path does not know this method: use one of those in Allow";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::UnknownType, details)
}

impl Refusal {
    /// A refusal with the status that belongs to its code.
    pub(crate) fn of(code: ErrorCode, details: impl Into<String>) -> Self {
        let status = match code {
            ErrorCode::Malformed | ErrorCode::BadSdp | ErrorCode::BadCandidate => {
                StatusCode::BAD_REQUEST
            }
            ErrorCode::UnknownPeer
            | ErrorCode::NotAProducer
            | ErrorCode::UnknownCamera
            | ErrorCode::UnknownSession => StatusCode::NOT_FOUND,
            ErrorCode::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Unauthorized | ErrorCode::TokenExpired => StatusCode::UNAUTHORIZED,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::RateLimited | ErrorCode::TooManyConnections => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, code, details)
    }

    /// A refusal with a status that its code does not tell.
    pub(crate) fn new(status: StatusCode, code: ErrorCode, details: impl Into<String>) -> Self {
        Self { status, code, details: details.into(), relayed: false }
    }

    /// What is said of it: JSON with `code` and `details`.
    pub(crate) fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            code: ErrorCode,
            details: &'a str,
        }
        let body = Body { code: self.code, details: &self.details };
        // Text and a code can always be written.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl From<crate::limits::Refusal> for Refusal {
    fn from(refusal: crate::limits::Refusal) -> Self {
        let told = Self::of(refusal.code(), refusal.to_string());
        match refusal {
            crate::limits::Refusal::Full => {
                Self { status: StatusCode::SERVICE_UNAVAILABLE, ..told }
            }
            crate::limits::Refusal::Address => told,
        }
    }
}

impl From<ErrorMessage> for Refusal {
    /// What the broker or the robot complains of.
    fn from(error: ErrorMessage) -> Self {
        // Nobody could do anything with a code that is not known here.
        let code = error.code.filter(|code| *code != ErrorCode::Other);
        Self { relayed: true, ..Self::of(code.unwrap_or(ErrorCode::Internal), error.details) }
    }
}

impl From<crate::access::Denied> for Refusal {
    fn from(denied: crate::access::Denied) -> Self {
        Self::of(denied.code(), denied.to_string())
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), ErrorCode::Malformed, rejection.body_text())
    }
}

impl From<WebSocketUpgradeRejection> for Refusal {
    fn from(rejection: WebSocketUpgradeRejection) -> Self {
        Self::new(rejection.status(), ErrorCode::Malformed, rejection.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body()).into_response();
        if !self.relayed {
            response.extensions_mut().insert(Refused(self.code));
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(AGAIN_S));
            }
            _ => {}
        }
        response
    }
}
