//! What the simulated kubelet does with each image.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The life of a container of an image. Without any field: starts at once, passes its probes, runs for ever.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImageLife {
    /// How long pulling takes where the node has it not yet. Default 1s.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub pull: Option<Duration>,
    /// The registry has no such image: ErrImagePull, then ImagePullBackOff. Nodes that pulled it before have it still.
    #[serde(skip_serializing_if = "is_default")]
    pub missing: bool,
    /// Why it can't be pulled, where it is for another reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// When the probes begin to pass. A container without a readiness probe is ready when it runs, as ever.
    #[serde(skip_serializing_if = "is_default")]
    pub ready: Ready,
    /// Ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash: Option<Crash>,
    /// Grows past its memory limit after so long and is killed: OOMKilled, exit code 137.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub oom: Option<Duration>,
    /// Memory it comes to use, `200Mi`: with a smaller limit it is killed for it, after `oom` or 2s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// CPU it uses without any request, `50m`. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// CPU time that one request takes, for what autoscalers see under traffic.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub cpu_per_request: Option<Duration>,
    /// No longer answers from so long after its start on: all its probes fail; the liveness probe's failures make
    /// the kubelet restart the container.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub hangs: Option<Duration>,
    /// How long it takes to end when it is asked to. Default 1s; past its grace period it is killed, with 137.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub stop: Option<Duration>,
    /// Share of requests that it answers with 500, 0 to 1.
    #[serde(skip_serializing_if = "is_default")]
    pub error_rate: f64,
    /// How long it takes to answer a request. Default 10ms.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub latency: Option<Duration>,
    /// How it answers while something is so, which is written as under `needs`: what a feature flag in a ConfigMap
    /// does to a program that runs. The last of several that are so counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Answers>,
    /// Services it calls for each request, `name` or `namespace/name`; it fails when they do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<String>,
    /// What it needs when it starts, else it ends with 1: `configmap/NAME`, `configmap/NAME/KEY`, `secret/NAME`,
    /// `secret/NAME/KEY`, `env/NAME`, each also with `=VALUE` at the end, and `service/NAME` or
    /// `service/NAMESPACE/NAME`, which must have a ready endpoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Ports it listens on; a probe of another is refused. All where none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Paths it knows; a probe of another is answered with 404. All where none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// What it does when the container names a `command`: by the command and its arguments, joined with spaces, or
    /// the command alone. With any program here, a command that is none of them can't be started
    /// (RunContainerError); with none, the command changes nothing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, ImageLife>,
    /// What it writes to its log when it starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How a program answers requests. What is not said stays as it is without it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Answers {
    /// Share of requests that it answers with 500, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
    /// How long it takes to answer a request.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub latency: Option<Duration>,
    /// CPU time that one request takes.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub cpu_per_request: Option<Duration>,
}

/// Why a registry gives no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Refused {
    /// Credentials are missing or wrong.
    Unauthorized,
    /// The registry can't be reached.
    Unreachable,
    /// It has the image for other platforms only.
    WrongPlatform,
}

/// When a container's probes begin to pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ready {
    /// So long after its start.
    #[serde(default, with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub after: Option<Duration>,
    /// Not before the end of time: it answers readiness and startup probes with 503. Liveness probes pass.
    #[serde(default)]
    pub never: bool,
}

impl Default for Ready {
    fn default() -> Self {
        Self { after: Some(Duration::ZERO), never: false }
    }
}

/// A container that ends by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Crash {
    /// So long after its start.
    #[serde(with = "span")]
    #[schemars(with = "String")]
    pub after: Duration,
    /// 0 for a container that completes.
    #[serde(default = "one")]
    pub exit_code: i64,
    /// How many times in one pod; for ever where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Its last words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

fn one() -> i64 {
    1
}

/// By image reference. An image that is not named here starts at once, is ready and runs for ever.
pub type Images = BTreeMap<String, ImageLife>;

/// Durations as `4s`, `1m30s`, `250ms`.
pub(crate) mod span {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn parse(text: &str) -> Result<Duration, String> {
        let bad = || format!("expected a duration such as 250ms, 4s, 1m30s or 2h, found {text:?}");
        let mut total = Duration::ZERO;
        let mut rest = text;
        if rest == "0" {
            return Ok(total);
        }
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let (number, after) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| bad())?;
            let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit);
            total += match unit {
                "ms" => Duration::from_millis(number),
                "s" => Duration::from_secs(number),
                "m" => Duration::from_secs(number.saturating_mul(60)),
                "h" => Duration::from_secs(number.saturating_mul(3600)),
                "d" => Duration::from_secs(number.saturating_mul(86400)),
                _ => return Err(bad()),
            };
            rest = after;
        }
        Ok(total)
    }

    pub(crate) fn text(of: &Duration) -> String {
        let millis = of.as_millis();
        if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
    }

    pub(crate) fn serialize<S: Serializer>(of: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(of))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }

    pub(crate) mod option {
        use super::{Deserializer, Duration, Serializer, parse, text};
        use serde::Deserialize as _;

        pub(crate) fn serialize<S: Serializer>(of: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
            match of {
                Some(of) => serializer.serialize_str(&text(of)),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
            let text = Option::<String>::deserialize(deserializer)?;
            text.map(|text| parse(&text)).transpose().map_err(serde::de::Error::custom)
        }
    }
}
