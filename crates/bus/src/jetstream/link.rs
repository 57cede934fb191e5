use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Auth, AuthError, Client, ConnectOptions, Event, HeaderMap, Request, RequestErrorKind, ServerError};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::options::{Authentication, JetStreamOptions, without_user};
use crate::BusError;

/// The oldest server whose scheduled messages and limits are as this bus needs them.
pub(crate) const OLDEST_SERVER: (u64, u64, u64) = (2, 12, 6);

/// How often a silent connection is probed; two unanswered probes end it.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How often those who wait look at the connection themselves.
const STATE_CHECK: Duration = Duration::from_secs(1);

/// How often the connection was lost and came back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Turns {
    losses: u64,
    returns: u64,
}

/// The connection, and how its troubles are told.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) context: jetstream::Context,
    pub(crate) timeout: Duration,
    servers: Arc<str>,
    turns: watch::Receiver<Turns>,
    refused: Arc<Mutex<Option<String>>>,
}

impl Link {
    pub(crate) async fn connect(options: &JetStreamOptions) -> Result<Self, BusError> {
        let servers = options.servers.iter().map(|server| without_user(server)).collect::<Vec<_>>().join(", ");
        let (turn, turns) = watch::channel(Turns::default());
        let refused = Arc::new(Mutex::new(None));
        let connect = events(connect_options(options).await?, turn, Arc::clone(&refused));
        let addresses = options
            .servers
            .iter()
            .map(|server| server.parse::<async_nats::ServerAddr>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BusError::Unsuitable(format!("the address of a NATS server ({servers}): {error}")))?;
        let client = connect.connect(addresses).await.map_err(|error| match error.kind() {
            async_nats::ConnectErrorKind::AuthorizationViolation | async_nats::ConnectErrorKind::Authentication => {
                BusError::Unsuitable(format!("{servers} refuses the user: {error}"))
            }
            _ => BusError::Unavailable(format!("connecting to {servers}: {error}")),
        })?;
        let version = client.server_info().version;
        check_version(&version)?;
        let context = jetstream::context::ContextBuilder::new().timeout(options.timeout).build(client.clone());
        Ok(Self { client, context, timeout: options.timeout, servers: servers.into(), turns, refused })
    }

    /// Refuses at once while there is no connection. Otherwise the client library would keep the
    /// message until there is one.
    pub(crate) fn check_up(&self) -> Result<(), BusError> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            State::Pending | State::Disconnected => Err(self.away()),
        }
    }

    fn away(&self) -> BusError {
        BusError::Unavailable(format!("no connection to {}; reconnecting", self.servers))
    }

    /// Returns when the connection is lost, also when it is back already: what waited in the server
    /// waits no more.
    pub(crate) async fn lost(&self) -> BusError {
        let mut turns = self.turns.clone();
        let before = turns.borrow_and_update().losses;
        loop {
            tokio::select! {
                // An error means that the client ended, which is as good as away.
                _ = turns.wait_for(|turns| turns.losses > before) => return self.away(),
                // The library drops events that nobody takes in time.
                () = tokio::time::sleep(STATE_CHECK) => {
                    if self.check_up().is_err() {
                        return self.away();
                    }
                }
            }
        }
    }

    /// Changes at each loss and return of the connection.
    pub(crate) fn turns(&self) -> watch::Receiver<Turns> {
        self.turns.clone()
    }

    /// Sends and waits for one answer, never longer than the timeout, the way into the client included.
    pub(crate) async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<async_nats::Message, BusError> {
        self.check_up()?;
        let subject = async_nats::Subject::from(subject);
        let to = subject.clone();
        let request = Request { payload: Some(payload), headers, timeout: Some(None), inbox: None };
        match tokio::time::timeout(self.timeout, self.client.send_request(to, request)).await {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) => Err(self.request_error(&subject, &error)),
            Err(_) => Err(self.silence(&subject)),
        }
    }

    /// Publishes into a stream and waits for the server's word.
    pub(crate) async fn store(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<jetstream::publish::PublishAck, StoreError> {
        let answer = self.ask(subject, Some(headers), payload).await.map_err(StoreError::Bus)?;
        parse(&answer.payload).map_err(StoreError::Bus)?.map_err(StoreError::Refused)
    }

    /// Asks the JetStream API: `subject` without its prefix.
    pub(crate) async fn api<T: DeserializeOwned>(&self, subject: &str, what: &str) -> Result<T, BusError> {
        let answer = self.ask(format!("$JS.API.{subject}"), None, Bytes::new()).await?;
        parse(&answer.payload)?.map_err(|error| match error.error_code() {
            ErrorCode::STREAM_NOT_FOUND | ErrorCode::CONSUMER_NOT_FOUND => BusError::Missing { what: what.to_owned() },
            _ => BusError::Unavailable(format!("{what}: {error}")),
        })
    }

    fn request_error(&self, subject: &str, error: &async_nats::RequestError) -> BusError {
        match error.kind() {
            RequestErrorKind::NoResponders => BusError::Unavailable(format!(
                "nothing answers on {subject}: JetStream is not ready, or `evenkeel bus init` has not been run"
            )),
            RequestErrorKind::TimedOut => self.silence(subject),
            RequestErrorKind::MaxPayloadExceeded => self.too_large(0),
            RequestErrorKind::InvalidSubject | RequestErrorKind::Other => {
                BusError::Unavailable(format!("{subject}: {error}"))
            }
        }
    }

    /// A refused subject is told to the connection, not to the request: the two are joined here.
    pub(crate) fn silence(&self, subject: &str) -> BusError {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match refused.as_ref().filter(|words| words.contains(subject)) {
            Some(words) => BusError::Unavailable(words.clone()),
            None => BusError::Unavailable(format!("no answer on {subject} within {:?}", self.timeout)),
        }
    }

    pub(crate) fn too_large(&self, found: usize) -> BusError {
        let limit = self.client.max_payload().saturating_sub(super::HEADER_ROOM).min(crate::MAX_VALUE_BYTES);
        BusError::TooLarge { found: found.max(limit + 1), limit }
    }

    /// Checks a payload against what bus and server take, headers left aside.
    pub(crate) fn check_size(&self, payload: &Bytes) -> Result<(), BusError> {
        let limit = self.client.max_payload().saturating_sub(super::HEADER_ROOM).min(crate::MAX_VALUE_BYTES);
        if payload.len() > limit { Err(self.too_large(payload.len())) } else { Ok(()) }
    }
}

/// Why something was not stored.
pub(crate) enum StoreError {
    Bus(BusError),
    Refused(jetstream::Error),
}

impl StoreError {
    /// In the bus' words; `stream` is its name on the server.
    pub(crate) fn into_bus(self, stream: &str) -> BusError {
        let error = match self {
            Self::Bus(error) => return error,
            Self::Refused(error) => error,
        };
        let full = || BusError::Full { stream: stream.to_owned(), reason: error.to_string() };
        match error.error_code() {
            ErrorCode::INSUFFICIENT_RESOURCES
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::MEMORY_RESOURCES_EXCEEDED
            | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => full(),
            // The server has one code for every store error; its words say which.
            ErrorCode::STREAM_STORE_FAILED if says_full(&error.to_string()) => full(),
            _ => BusError::Unavailable(format!("stream {stream}: {error}")),
        }
    }
}

fn says_full(words: &str) -> bool {
    words.contains("maximum messages") || words.contains("maximum bytes") || words.contains("no space left")
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<Result<T, jetstream::Error>, BusError> {
    match serde_json::from_slice(payload) {
        Ok(jetstream::response::Response::Ok(value)) => Ok(Ok(value)),
        Ok(jetstream::response::Response::Err { error }) => Ok(Err(error)),
        Err(error) => Err(BusError::Unavailable(format!("the server's answer cannot be read: {error}"))),
    }
}

async fn connect_options(options: &JetStreamOptions) -> Result<ConnectOptions, BusError> {
    let mut connect = match &options.authentication {
        Authentication::None => ConnectOptions::new(),
        Authentication::Password { user, password_file } => {
            read_secret(password_file)?;
            let (user, file) = (user.clone(), password_file.clone());
            ConnectOptions::with_auth_callback(move |_| {
                let (user, password) = (user.clone(), read_secret(&file).map_err(AuthError::new));
                async move {
                    let mut auth = Auth::new();
                    auth.username = Some(user);
                    auth.password = Some(password?);
                    Ok(auth)
                }
            })
        }
        Authentication::Token { token_file } => {
            read_secret(token_file)?;
            let file = token_file.clone();
            ConnectOptions::with_auth_callback(move |_| {
                let token = read_secret(&file).map_err(AuthError::new);
                async move {
                    let mut auth = Auth::new();
                    auth.token = Some(token?);
                    Ok(auth)
                }
            })
        }
        Authentication::Credentials { file } => ConnectOptions::with_credentials_file(file)
            .await
            .map_err(|error| BusError::Unsuitable(format!("credentials in {}: {error}", file.display())))?,
    };
    if let Some(tls) = &options.tls {
        connect = connect.require_tls(true);
        if let Some(ca) = &tls.ca {
            connect = connect.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &tls.certificate {
            connect = connect.add_client_certificate(certificate.clone(), key.clone());
        }
    }
    Ok(connect
        .name(&options.name)
        .custom_inbox_prefix(&options.inbox_prefix)
        .connection_timeout(options.timeout.max(Duration::from_secs(1)))
        .request_timeout(Some(options.timeout))
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(reconnect_delay))
}

/// Doubles from 50 ms to 4 s; with several servers each attempt goes to the next.
fn reconnect_delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(7);
    Duration::from_millis(50).saturating_mul(2_u32.saturating_pow(doublings)).min(Duration::from_secs(4))
}

fn read_secret(file: &Path) -> Result<String, BusError> {
    std::fs::read_to_string(file)
        .map(|text| text.trim().to_owned())
        .map_err(|error| BusError::Unsuitable(format!("reading the secret in {}: {error}", file.display())))
}

fn events(options: ConnectOptions, turn: watch::Sender<Turns>, refused: Arc<Mutex<Option<String>>>) -> ConnectOptions {
    options.event_callback(move |event| {
        match &event {
            Event::Connected => {
                tracing::info!("connected to NATS");
                turn.send_modify(|turns| turns.returns += 1);
            }
            Event::Disconnected | Event::Closed => {
                tracing::warn!("connection to NATS lost");
                turn.send_modify(|turns| turns.losses += 1);
            }
            Event::ServerError(ServerError::Other(words)) => {
                tracing::warn!(words, "NATS refused");
                *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.clone());
            }
            other => tracing::warn!(event = %other, "NATS"),
        }
        std::future::ready(())
    })
}

/// Refuses servers that are too old.
pub(crate) fn check_version(found: &str) -> Result<(), BusError> {
    let mut numbers = found.trim_start_matches('v').split(['.', '-', '+']).map(|part| part.parse::<u64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let version = (next(), next(), next());
    let (major, minor, patch) = OLDEST_SERVER;
    if version >= OLDEST_SERVER {
        Ok(())
    } else {
        Err(BusError::Unsuitable(format!(
            "expected nats-server {major}.{minor}.{patch} or newer, found {found}: upgrade the server, since older ones \
             lose scheduled wake-ups"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused_and_newer_ones_taken() {
        for old in ["2.10.29", "2.12.5", "2.12.0-RC.3", "", "1.4.1"] {
            assert!(matches!(check_version(old), Err(BusError::Unsuitable(_))), "{old}");
        }
        for new in ["2.12.6", "v2.12.7-beta", "2.15.2", "3.0.0"] {
            assert!(check_version(new).is_ok(), "{new}");
        }
    }

    #[test]
    fn reconnecting_slows_down_to_a_bound() {
        assert_eq!(reconnect_delay(1), Duration::from_millis(50));
        assert_eq!(reconnect_delay(3), Duration::from_millis(200));
        assert_eq!(reconnect_delay(100), Duration::from_secs(4));
    }

    #[test]
    fn the_servers_words_tell_full_from_broken() {
        assert!(says_full("maximum messages exceeded"));
        assert!(says_full("maximum bytes exceeded"));
        assert!(!says_full("stream store EIO"));
    }
}
