use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// Why a request was not taken. The text goes back to the sender, which logs it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("expected one of the observer's bearer tokens in the Authorization header, found {0}")]
    Unauthorized(&'static str),
    #[error("expected Content-Encoding gzip or none, found {0:?}")]
    Encoding(String),
    #[error("expected Content-Type application/json, found {0:?}")]
    Type(String),
    #[error("expected a body of at most {limit} bytes{unpacked}, found more (alertmanager.maxBodyBytes)")]
    TooLarge { limit: usize, unpacked: &'static str },
    #[error("expected Alertmanager's webhook body of version 4: {0}")]
    Malformed(String),
    #[error("the body did not arrive within {0:?}")]
    Slow(Duration),
    #[error("too much at a time ({what}); come back")]
    Busy { what: &'static str, retry_after: Duration },
    #[error("not stored, come back: {reason}")]
    Unavailable { reason: String, retry_after: Duration },
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Encoding(_) | Self::Type(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            // Never 429: Alertmanager gives up on every 4xx.
            Self::Busy { .. } | Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if matches!(self, Self::Unauthorized(_)) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
