use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::MessageFormatter as _;

use super::keys::{KeyDoc, keys, with};

/// A configuration and what was odd about reading it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<T> {
    /// The configuration.
    pub config: T,
    /// Variables that begin with our prefix and name no key. Not an error: Kubernetes sets such
    /// variables for every Service whose name begins with `evenkeel`.
    pub unknown_variables: Vec<String>,
}

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{path}: can't be read: {source}; name an existing file with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what was expected.
    #[error("{file}:{line}:{column}: {message}")]
    File {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What was expected and what was found.
        message: String,
    },
    /// A variable's value is not what was expected.
    #[error("environment variable {variable} (key {key}, {expected}): {message}")]
    Environment {
        /// The variable.
        variable: String,
        /// The key it overrides.
        key: String,
        /// What is wrong.
        message: String,
        /// What was expected.
        expected: String,
    },
}

/// Reads a configuration from a file and from the process' environment, which goes over the file.
///
/// # Errors
/// With file, line and column, or with the variable.
pub fn load<T>(path: &Path) -> Result<Loaded<T>, ConfigError>
where
    T: DeserializeOwned + Serialize + Default + JsonSchema,
{
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text, &path.display().to_string(), variables())
}

/// As [`load`], without a file: defaults and the environment.
///
/// # Errors
/// With the variable.
pub fn load_environment<T>() -> Result<Loaded<T>, ConfigError>
where
    T: DeserializeOwned + Serialize + Default + JsonSchema,
{
    parse("", "", variables())
}

/// The process' variables. Those that are not Unicode can't name a key of ours.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Reads a configuration from text and variables. `origin` stands for the file in errors.
///
/// # Errors
/// See [`load`].
pub fn parse<T>(
    text: &str,
    origin: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<T>, ConfigError>
where
    T: DeserializeOwned + Serialize + Default + JsonSchema,
{
    let located = |error: &serde_saphyr::Error| file_error(origin, error);
    let written: Option<T> = serde_saphyr::from_str(text).map_err(|error| located(&error))?;
    let mut config = written.unwrap_or_default();

    let prefix = format!("{}_", super::PREFIX);
    let set_here: BTreeMap<String, String> =
        variables.into_iter().filter(|(name, _)| name.starts_with(&prefix)).collect();
    if set_here.is_empty() {
        return Ok(Loaded { config, unknown_variables: Vec::new() });
    }

    let mut known: Vec<(String, KeyDoc)> =
        keys::<T>().into_iter().filter_map(|key| Some((key.variable()?, key))).collect();
    // A key before what lies under it: `bus` chooses, `bus.jetstream.servers` then sets.
    known.sort_by_key(|(_, key)| key.path.len());
    let mut value: Value =
        serde_saphyr::from_str::<Option<Value>>(text).map_err(|error| located(&error))?.unwrap_or(Value::Null);
    for (variable, key) in &known {
        let Some(text) = set_here.get(variable) else { continue };
        let refused = |message: String| ConfigError::Environment {
            variable: variable.clone(),
            key: key.key(),
            message,
            expected: key.kind.clone(),
        };
        value = with(value, &key.path, read(text, key).map_err(refused)?);
        config = serde_json::from_value(value.clone()).map_err(|error| refused(error.to_string()))?;
    }
    let unknown_variables =
        set_here.keys().filter(|name| !known.iter().any(|(variable, _)| variable == *name)).cloned().collect();
    Ok(Loaded { config, unknown_variables })
}

/// A variable's text as the key's value: text as it is, the rest as YAML; lists also with commas.
fn read(text: &str, key: &KeyDoc) -> Result<Value, String> {
    if key.is_text {
        return Ok(Value::String(text.to_owned()));
    }
    let looks_plain = key.is_list && !text.trim_start().starts_with(['[', '{', '-']);
    if looks_plain {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        return Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()));
    }
    serde_saphyr::from_str(text).map_err(|error| message(&error))
}

const NUMBERS: [&str; 8] = [
    "invalid u8",
    "invalid u16",
    "invalid u32",
    "invalid u64",
    "invalid i32",
    "invalid i64",
    "invalid usize",
    "invalid i16",
];

fn message(error: &serde_saphyr::Error) -> String {
    let message = serde_saphyr::UserMessageFormatter.format_message(error.without_snippet()).into_owned();
    // The parser's words for what it wanted, in words of YAML.
    match message.as_str() {
        "expected sequence start" => "expected a list".to_owned(),
        "expected mapping start" => "expected keys with values".to_owned(),
        "expected string scalar" => "expected text".to_owned(),
        "invalid bool" => "expected true or false".to_owned(),
        number if NUMBERS.contains(&number) => "expected a whole number".to_owned(),
        _ => message,
    }
}

fn file_error(origin: &str, error: &serde_saphyr::Error) -> ConfigError {
    let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
    ConfigError::File { file: origin.to_owned(), line, column, message: message(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::markdown;
    use evenkeel_model::Span;
    use serde::Deserialize;

    /// The whole.
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
    struct Config {
        /// Name of the cluster.
        cluster: String,
        /// Where messages go.
        bus: Bus,
        /// What is seen.
        observer: Observer,
    }

    /// Where messages go.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    enum Bus {
        /// Within the process.
        Memory,
        /// NATS.
        Jetstream(Jetstream),
    }

    impl Default for Bus {
        fn default() -> Self {
            Self::Jetstream(Jetstream::default())
        }
    }

    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
    struct Jetstream {
        /// Addresses.
        servers: Vec<String>,
        /// File with the password.
        password_file: Option<PathBuf>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
    struct Observer {
        /// Asked for alerts.
        prometheus: Option<Prometheus>,
        /// How often.
        every: Span,
        /// At most so many.
        rows: u32,
        /// Who may post.
        posters: Vec<Poster>,
    }

    impl Default for Observer {
        fn default() -> Self {
            Self { prometheus: None, every: Span::seconds(30), rows: 100, posters: Vec::new() }
        }
    }

    /// Asked for alerts.
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
    struct Prometheus {
        /// Base URL.
        url: String,
    }

    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
    struct Poster {
        /// Its name.
        name: String,
    }

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Loaded<Config>, ConfigError> {
        parse(text, "evenkeel.yaml", variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn what_the_file_leaves_out_has_its_default() {
        assert_eq!(read("", &[]).unwrap().config, Config::default());
        assert_eq!(read("# nothing\n", &[]).unwrap().config, Config::default());
        let config = read("cluster: prod\nbus: memory\nobserver:\n  rows: 5\n", &[]).unwrap().config;
        assert_eq!((config.cluster.as_str(), config.bus, config.observer.rows), ("prod", Bus::Memory, 5));
        assert_eq!(config.observer.every, Span::seconds(30));
    }

    #[test]
    fn errors_in_the_file_say_where() {
        let error = |text| read(text, &[]).unwrap_err().to_string();
        insta::assert_snapshot!(
            [
                error("cluster: prod\nobserver:\n  promethius: {url: x}\n"),
                error("observer:\n  rows: many\n"),
                error("observer:\n  every: 5\n"),
                error("bus: {jetstream: {servers: nats}}\n"),
                error("bus: nats\n"),
                error("cluster: a\ncluster: b\n"),
                error("cluster: [\n"),
            ]
            .join("\n")
        );
    }

    #[test]
    fn a_variable_goes_over_the_file() {
        let config = read(
            "cluster: a\nbus: memory\nobserver: {rows: 5}\n",
            &[
                ("EVENKEEL_CLUSTER", "42"),
                ("EVENKEEL_OBSERVER_PROMETHEUS_URL", "http://prometheus:9090"),
                ("EVENKEEL_OBSERVER_ROWS", "7"),
                ("EVENKEEL_OBSERVER_EVERY", "1m"),
                ("EVENKEEL_OBSERVER_POSTERS", "[{name: a}, {name: b}]"),
                ("EVENKEEL_BUS_JETSTREAM_SERVERS", "nats://a:4222, nats://b:4222"),
                ("EVENKEEL_GATEWAY_SERVICE_HOST", "10.0.0.1"),
                ("HOME", "/"),
            ],
        )
        .unwrap();
        assert_eq!(config.unknown_variables, ["EVENKEEL_GATEWAY_SERVICE_HOST"]);
        let config = config.config;
        assert_eq!(config.cluster, "42", "text stays text");
        assert_eq!(config.observer.prometheus.unwrap().url, "http://prometheus:9090");
        assert_eq!((config.observer.rows, config.observer.every), (7, Span::minutes(1)));
        assert_eq!(config.observer.posters.len(), 2);
        let servers = vec!["nats://a:4222".to_owned(), "nats://b:4222".to_owned()];
        assert_eq!(config.bus, Bus::Jetstream(Jetstream { servers, password_file: None }));
        assert_eq!(read("", &[("EVENKEEL_BUS", "memory")]).unwrap().config.bus, Bus::Memory);
    }

    #[test]
    fn errors_in_a_variable_name_it_and_its_key() {
        let error = |name, value| read("", &[(name, value)]).unwrap_err().to_string();
        insta::assert_snapshot!(
            [
                error("EVENKEEL_OBSERVER_ROWS", "many"),
                error("EVENKEEL_OBSERVER_EVERY", "soon"),
                error("EVENKEEL_OBSERVER_POSTERS", "[{nom: a}]"),
                error("EVENKEEL_BUS", "nats"),
            ]
            .join("\n")
        );
    }

    #[test]
    fn the_keys_are_documented() {
        insta::assert_snapshot!(markdown::<Config>());
    }
}
