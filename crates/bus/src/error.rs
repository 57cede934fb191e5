/// What can go wrong on the bus.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The server can't be reached or did not answer. Whether a message was stored is unknown.
    #[error("the bus did not answer: {0}")]
    Unavailable(String),
    /// The stream is at its limits; nothing was stored.
    #[error("stream {stream} is full: {reason}")]
    Full {
        /// Stream name.
        stream: String,
        /// The server's words.
        reason: String,
    },
    /// A stream, consumer or bucket does not exist.
    #[error("{what} does not exist; run `evenkeel bus init` with the bus administrator's user")]
    Missing {
        /// Which.
        what: String,
    },
    /// Compare-and-set lost: somebody wrote in between, or the key exists already.
    #[error("key {key} was changed by somebody else")]
    Conflict {
        /// The key.
        key: String,
    },
    /// No reply came in time.
    #[error("no reply on {subject} in time")]
    Timeout {
        /// The subject asked.
        subject: String,
    },
    /// Nobody serves the subject.
    #[error("nobody serves {subject}")]
    NoResponders {
        /// The subject asked.
        subject: String,
    },
    /// The payload is larger than the bus takes.
    #[error("{found} bytes are more than the bus takes ({limit})")]
    TooLarge {
        /// Size found, bytes.
        found: usize,
        /// Limit, bytes.
        limit: usize,
    },
    /// A name that can't be a subject token or key.
    #[error("expected {expected}, found {found:?}")]
    Name {
        /// What was found.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The server is too old or configured unsafely.
    #[error("{0}")]
    Unsuitable(String),
}
