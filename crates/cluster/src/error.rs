use std::error::Error as _;
use std::time::Duration;

use evenkeel_model::ObjectRef;

/// Why an object or its surroundings could not be read. Nothing is concluded from it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// RBAC does not let us.
    #[error("reading {object}: {what} is forbidden ({message}); grant what evenkeel_cluster::READS lists")]
    Forbidden {
        /// The object the snapshot is of.
        object: String,
        /// What was being read for it.
        what: String,
        /// The server's words.
        message: String,
    },
    /// The API server did not answer, or not in a way that can be used.
    #[error("reading {object}: {what} could not be had: {source}")]
    Unavailable {
        /// The object the snapshot is of.
        object: String,
        /// What was being read for it.
        what: String,
        /// What happened.
        #[source]
        source: Box<kube::Error>,
    },
    /// An answer without something every object has.
    #[error("reading {object}: expected {expected} in {field}, found {found}")]
    Malformed {
        /// The object.
        object: String,
        /// The field.
        field: String,
        /// What belongs there.
        expected: &'static str,
        /// What was there.
        found: String,
    },
}

impl ReadError {
    pub(crate) fn of(object: &ObjectRef, what: impl Into<String>, source: kube::Error) -> Self {
        let (object, what) = (object.to_string(), what.into());
        match source {
            kube::Error::Api(status) if status.code == 403 || status.code == 401 => {
                Self::Forbidden { object, what, message: brief(&status.message) }
            }
            source => Self::Unavailable { object, what, source: Box::new(source) },
        }
    }
}

/// Why a mutating request did not succeed. [`WriteError::outcome`] says whether it can have been done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// 409: another object of that name, or somebody wrote at the same moment. Nothing was written.
    #[error("{object} is not what it was when it was read: {message}")]
    Conflict {
        /// The object.
        object: String,
        /// The server's words.
        message: String,
    },
    /// 422: a `test` of the JSON Patch found another value. Nothing was written.
    #[error("{object} was changed by somebody else since it was read: {message}")]
    TestFailed {
        /// The object.
        object: String,
        /// The server's words.
        message: String,
    },
    /// 404: it is not there. Nothing was written.
    #[error("{object} does not exist: {message}")]
    Gone {
        /// The object.
        object: String,
        /// The server's words.
        message: String,
    },
    /// 429 of an eviction: a PodDisruptionBudget does not allow it now. Nothing was written.
    #[error("a PodDisruptionBudget keeps {object} from being evicted now: {message}")]
    RefusedByBudget {
        /// The object.
        object: String,
        /// The server's words.
        message: String,
        /// When the server says to ask again.
        retry_after: Option<Duration>,
    },
    /// 429: the API server has too much to do. Nothing was written.
    #[error("the API server asks to come back later with {object}: {message}")]
    Throttled {
        /// The object.
        object: String,
        /// The server's words.
        message: String,
        /// When the server says to ask again.
        retry_after: Option<Duration>,
    },
    /// 401 or 403: RBAC or an admission policy does not let us. Nothing was written.
    #[error("writing {object} is forbidden: {message}")]
    Forbidden {
        /// The object.
        object: String,
        /// The server's words.
        message: String,
    },
    /// Another 4xx: validation or admission refused it. Nothing was written.
    #[error("the API server refused the request for {object} with {code}: {message}")]
    Invalid {
        /// The object.
        object: String,
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The request never left, or it was a dry run. Nothing was written.
    #[error("the request for {object} was not carried out: {reason}")]
    Unavailable {
        /// The object.
        object: String,
        /// Why.
        reason: String,
    },
    /// The request may have left, and the answer does not tell: it has to be looked up.
    #[error("it can't be told whether the request for {object} was carried out: {reason}")]
    Lost {
        /// The object.
        object: String,
        /// Why.
        reason: String,
    },
}

/// Whether a request that failed can have been carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Nothing was written, and why.
    NotDone(String),
    /// It may have been, and why that can't be told.
    Unknown(String),
}

impl WriteError {
    /// Whether the request can have been carried out.
    pub fn outcome(&self) -> WriteOutcome {
        match self {
            Self::Lost { .. } => WriteOutcome::Unknown(self.to_string()),
            _ => WriteOutcome::NotDone(self.to_string()),
        }
    }

    /// Nothing was written, and the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::RefusedByBudget { .. } | Self::Throttled { .. } | Self::Unavailable { .. })
    }

    /// The target is another than the one that was read, or was changed since: look again.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::TestFailed { .. } | Self::Gone { .. })
    }
}

/// Tells from an error whether the request can have been carried out.
///
/// Nothing was written when the request could not be built or authenticated, no connection came
/// about, or the API server refused it with a 4xx. A 5xx does not tell: etcd may have committed
/// before its answer was lost ("etcdserver: request timed out" is a 500), and a proxy's 502 or 504
/// says nothing of what lies behind it. Neither does a connection that broke, a timeout, nor an
/// answer that can't be read.
pub fn classify(error: &kube::Error) -> WriteOutcome {
    use kube::Error as E;
    let reason = reason(error);
    match error {
        // 408 comes from proxies that gave up on a request they may have forwarded.
        E::Api(status) if (400..500).contains(&status.code) && status.code != 408 => WriteOutcome::NotDone(reason),
        E::BuildRequest(_) | E::HttpError(_) | E::Auth(_) | E::InferConfig(_) | E::TlsRequired => {
            WriteOutcome::NotDone(reason)
        }
        E::ProxyProtocolUnsupported { .. } | E::ProxyProtocolDisabled { .. } => WriteOutcome::NotDone(reason),
        E::Service(source) if never_connected(source.as_ref()) => WriteOutcome::NotDone(reason),
        _ => WriteOutcome::Unknown(reason),
    }
}

fn never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        next = error.source();
    }
    false
}

/// An error with its causes, in one line.
fn reason(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} {}: {}", status.code, status.reason, brief(&status.message));
    }
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

impl WriteError {
    pub(crate) fn of(object: &ObjectRef, error: &kube::Error, dry_run: bool) -> Self {
        let object = object.to_string();
        if let kube::Error::Api(status) = error {
            let message = brief(&status.message);
            let details = status.details.as_ref();
            let retry_after = details.map(|it| it.retry_after_seconds).filter(|it| *it > 0);
            let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds.into()));
            let budget = details.is_some_and(|it| it.causes.iter().any(|cause| cause.reason == "DisruptionBudget"));
            match status.code {
                401 | 403 => return Self::Forbidden { object, message },
                404 | 410 => return Self::Gone { object, message },
                409 => return Self::Conflict { object, message },
                422 if is_failed_test(status) => return Self::TestFailed { object, message },
                429 if budget => return Self::RefusedByBudget { object, message, retry_after },
                429 => return Self::Throttled { object, message, retry_after },
                _ => {}
            }
        }
        match (classify(error), error) {
            (WriteOutcome::NotDone(_), kube::Error::Api(status)) => {
                Self::Invalid { object, code: status.code, message: brief(&status.message) }
            }
            (WriteOutcome::NotDone(reason), _) => Self::Unavailable { object, reason },
            (WriteOutcome::Unknown(reason), _) if dry_run => Self::Unavailable { object, reason },
            (WriteOutcome::Unknown(reason), _) => Self::Lost { object, reason },
        }
    }
}

/// Bytes of a server's message that are kept from its start and from its end.
const KEPT: (usize, usize) = (160, 240);

/// A message in a length that fits a status. The API server quotes whole objects in some ("Invalid
/// value: {…}: unknown field"); what matters then is how it begins and ends.
fn brief(message: &str) -> String {
    if message.len() <= KEPT.0 + KEPT.1 {
        return message.to_owned();
    }
    let head = (0..=KEPT.0).rev().find(|at| message.is_char_boundary(*at)).and_then(|at| message.get(..at));
    let tail = (message.len() - KEPT.1..message.len()).find(|at| message.is_char_boundary(*at));
    format!("{} … {}", head.unwrap_or_default(), tail.and_then(|at| message.get(at..)).unwrap_or_default())
}

/// Whether a 422 is a JSON Patch that did not apply, rather than validation or admission: the API
/// server says no more than this of it, and gives no causes.
fn is_failed_test(status: &kube::core::Status) -> bool {
    status.message.starts_with("the server rejected our request due to an error in our request")
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Kind;
    use kube::core::Status;

    use super::*;

    fn api(code: u16, reason: &str, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())
    }

    fn write_error(error: &kube::Error) -> WriteError {
        WriteError::of(&ObjectRef::namespaced(Kind::Pod, "shop", "cart-1"), error, false)
    }

    #[test]
    fn a_refusal_wrote_nothing() {
        for code in [400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429] {
            assert!(matches!(classify(&api(code, "", "no")), WriteOutcome::NotDone(_)), "{code}");
            assert!(matches!(write_error(&api(code, "", "no")).outcome(), WriteOutcome::NotDone(_)), "{code}");
        }
    }

    #[test]
    fn a_server_error_does_not_tell() {
        for code in [408, 500, 502, 503, 504] {
            let error = api(code, "InternalError", "etcdserver: request timed out");
            assert!(matches!(classify(&error), WriteOutcome::Unknown(_)), "{code}");
            assert!(matches!(write_error(&error), WriteError::Lost { .. }), "{code}");
        }
    }

    #[test]
    fn a_lost_connection_or_an_unreadable_answer_does_not_tell() {
        let broken = kube::Error::Service(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        let unreadable = kube::Error::SerdeError(serde_json::from_str::<u8>("x").unwrap_err());
        for error in [broken, unreadable] {
            assert!(matches!(classify(&error), WriteOutcome::Unknown(_)), "{error}");
        }
    }

    #[test]
    fn a_dry_run_writes_nothing_whatever_becomes_of_it() {
        let object = ObjectRef::namespaced(Kind::Pod, "shop", "cart-1");
        let error = WriteError::of(&object, &api(504, "Timeout", "slow"), true);
        assert!(matches!(error, WriteError::Unavailable { .. }), "{error}");
    }

    #[test]
    fn refusals_are_told_apart() {
        let failed = api(422, "Invalid", "the server rejected our request due to an error in our request");
        assert!(matches!(write_error(&failed), WriteError::TestFailed { .. }));
        let invalid = api(422, "Invalid", "Deployment.apps \"cart\" is invalid: spec.replicas");
        assert!(matches!(write_error(&invalid), WriteError::Invalid { code: 422, .. }));
        assert!(matches!(write_error(&api(429, "TooManyRequests", "busy")), WriteError::Throttled { .. }));
        let json = serde_json::json!({"code": 429, "reason": "TooManyRequests", "message": "Cannot evict pod",
            "details": {"retryAfterSeconds": 10, "causes": [{"reason": "DisruptionBudget", "message": "needs 3"}]}});
        let status: Status = serde_json::from_value(json).unwrap();
        let expected = Some(Duration::from_secs(10));
        assert!(matches!(write_error(&kube::Error::Api(status.boxed())),
            WriteError::RefusedByBudget { retry_after, .. } if retry_after == expected));
    }

    #[test]
    fn a_quoted_object_is_left_out_of_the_message() {
        let message = format!("Invalid value: {}: unknown field \"spec.zork\"", "é".repeat(4000));
        let error = write_error(&api(422, "Invalid", &message)).to_string();
        assert!(error.len() < 600 && error.ends_with("unknown field \"spec.zork\""), "{error}");
    }
}
