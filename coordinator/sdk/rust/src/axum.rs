//! Calls from requests, and responses from answers, for `axum`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::{Answer, Call, Error};

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = Answer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Answer> {
        Self::read(|name| parts.headers.get(name)?.to_str().ok())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Ok(status) = StatusCode::from_u16(self.status) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let mut response = Response::new(self.body.into());
        *response.status_mut() = status;
        let content_type = self.content_type.and_then(|text| HeaderValue::try_from(text.as_ref()).ok());
        let retry_after = self.retry_after_s.map(HeaderValue::from);
        let headers = [(header::CONTENT_TYPE, content_type), (header::RETRY_AFTER, retry_after)];
        response.headers_mut().extend(headers.into_iter().filter_map(|(name, value)| Some((name, value?))));
        response
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Answer::from(self).into_response()
    }
}
