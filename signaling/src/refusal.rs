//! What is told to who does not get what it asked for by HTTP: a status for programs, and the reason
//! and the remedy for people.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rovercast_protocol::signaling::{ErrorCode, ErrorMessage};
use serde::Serialize;

use crate::access::Denied;

/// In how many seconds it may be worth to try again what fails for want of room.
const AGAIN_S: u16 = 5;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status of the response.
    pub status: StatusCode,
    /// What is wrong, for programs.
    pub code: ErrorCode,
    /// What is wrong and how to mend it, for people.
    pub details: String,
}

impl Refusal {
    /// A refusal with a status that its code does not tell.
    pub(crate) fn new(status: StatusCode, code: ErrorCode, details: impl Into<String>) -> Self {
        Self { status, code, details: details.into() }
    }

    /// A refusal with the status that belongs to the code.
    pub(crate) fn of(code: ErrorCode, details: impl Into<String>) -> Self {
        Self::new(status_of(code), code, details)
    }
}

impl From<ErrorMessage> for Refusal {
    /// What the broker or the robot complains of.
    fn from(error: ErrorMessage) -> Self {
        Self::of(error.code.unwrap_or(ErrorCode::Other), error.details)
    }
}

fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Malformed | ErrorCode::BadSdp | ErrorCode::BadCandidate => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::Unauthorized | ErrorCode::TokenExpired => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::UnknownPeer
        | ErrorCode::NotAProducer
        | ErrorCode::UnknownCamera
        | ErrorCode::UnknownSession => StatusCode::NOT_FOUND,
        ErrorCode::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited | ErrorCode::TooManyConnections => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            code: ErrorCode,
            details: &'a str,
        }
        let body = Body { code: self.code, details: &self.details };
        // Text and a code can always be written.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, body).into_response();
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
        // For whoever counts.
        response.extensions_mut().insert(Refused(self.code));
        response
    }
}

/// Of a response that is a refusal: why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused(pub(crate) ErrorCode);

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::of(denied.code(), denied.to_string())
    }
}
