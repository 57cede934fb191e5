use std::time::Duration;

use evenkeel_bus::BusError;

/// The API server did not do what it was asked for one of our own objects.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It answered with an error, or not at all.
    #[error("{what}: {source}")]
    Failed {
        /// What was asked.
        what: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// It did not answer in time. Whether it was done is not known.
    #[error("{what}: no answer within {} s", limit.as_secs_f64())]
    Late {
        /// What was asked.
        what: String,
        /// How long was waited.
        limit: Duration,
    },
    /// It answered with something else than was asked for.
    #[error("{what}: expected {expected}, found {found}")]
    Malformed {
        /// What was asked.
        what: String,
        /// What belongs there.
        expected: &'static str,
        /// What was there.
        found: String,
    },
}

impl ApiError {
    pub(crate) fn of(what: impl Into<String>, source: kube::Error) -> Self {
        Self::Failed { what: what.into(), source: Box::new(source) }
    }

    /// The HTTP status, where there was an answer.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Failed { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Late { .. } | Self::Malformed { .. } => None,
        }
    }

    /// Whether an object of that name is there already. Not every 409 of a creation says so: of a quota that somebody else
    /// has just changed it says that nothing was created.
    pub(crate) fn is_already_there(&self) -> bool {
        match self {
            Self::Failed { source, .. } => {
                matches!(source.as_ref(), kube::Error::Api(status) if status.is_already_exists())
            }
            Self::Late { .. } | Self::Malformed { .. } => false,
        }
    }

    /// Whether asking again later may help.
    pub(crate) fn is_transient(&self) -> bool {
        self.code().is_none_or(|code| code == 408 || code == 429 || code >= 500)
    }
}

/// Why the gateway can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting can't be worked with.
    #[error(transparent)]
    Config(#[from] crate::BadConfig),
    /// Prometheus' address is none.
    #[error("gateway.prometheusUrl: {0}")]
    Prometheus(#[source] evenkeel_runtime::http::HttpError),
    /// The bus lacks something, or can't be used.
    #[error("gateway: {what}: {source}")]
    Bus {
        /// What was asked of it.
        what: &'static str,
        /// Its answer.
        #[source]
        source: BusError,
    },
    /// Chats and pagers can't be told.
    #[error(transparent)]
    Chat(#[from] evenkeel_chat::ChatError),
    /// The webhook's address can't be listened on.
    #[error("listening on {address} for clicks in Slack: {source}; chat.listen names another address")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A part of the gateway ended.
    #[error("gateway: {0}")]
    Ended(String),
}

/// An answer of the API server, or that it took too long.
pub(crate) async fn bounded<T>(
    limit: Duration,
    what: impl Fn() -> String,
    answer: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|error| ApiError::of(what(), error)),
        Err(_) => Err(ApiError::Late { what: what(), limit }),
    }
}
