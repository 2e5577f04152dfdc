//! Which web pages may use WHEP: those of this broker, and those of the origins that are allowed.
//! Programs that are no browsers name none.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::web::Gate;

/// What a page may ask, and what it may read of the response.
const MAY: [(HeaderName, &str); 4] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, PATCH, DELETE, OPTIONS"),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Location, ETag, Link, Retry-After"),
    (header::ACCESS_CONTROL_MAX_AGE, "600"),
];

/// Refuses pages of other servers, answers OPTIONS, and lets the rest pass.
pub(crate) async fn fence(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if let Err(refusal) = gate.knows_origin(request.headers()) {
        return refusal.into_response();
    }
    let mut response = if request.method() == Method::OPTIONS {
        let accepts = [
            (header::ALLOW, "POST, PATCH, DELETE, OPTIONS"),
            (HeaderName::from_static("accept-post"), "application/sdp"),
        ];
        (StatusCode::NO_CONTENT, accepts).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.extend(MAY.map(|(name, value)| (name, HeaderValue::from_static(value))));
    }
    response
}
