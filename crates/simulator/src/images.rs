//! What the simulated kubelet does with each image.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The life of a container of an image. Without any field: starts at once, is ready at once, runs for ever.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImageLife {
    /// How long pulling takes where the node has it not yet. Default 1s.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub pull: Option<Duration>,
    /// The registry has no such image: ErrImagePull, then ImagePullBackOff.
    pub missing: bool,
    /// When the readiness probe begins to pass.
    pub ready: Ready,
    /// Ends by itself.
    pub crash: Option<Crash>,
    /// Grows past its memory limit after so long and is killed: OOMKilled, exit code 137.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub oom: Option<Duration>,
    /// The liveness probe fails from so long after the start; the kubelet restarts the container.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub hangs: Option<Duration>,
    /// Share of requests that it answers with 500, 0 to 1.
    pub error_rate: f64,
    /// How long it takes to answer a request. Default 10ms.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub latency: Option<Duration>,
    /// Services it calls for each request, `name` or `namespace/name`; it fails when they do.
    pub calls: Vec<String>,
    /// What it needs to run, else it exits with 1: `configmap/NAME`, `secret/NAME`, `env/NAME`, `service/NAME`.
    pub needs: Vec<String>,
}

/// When a container's readiness probe begins to pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ready {
    /// So long after its start.
    #[serde(default, with = "span::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub after: Option<Duration>,
    /// Not before the end of time.
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
    /// How many times; for ever where it is not said.
    #[serde(default)]
    pub times: Option<u32>,
}

fn one() -> i64 {
    1
}

/// By image reference.
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
