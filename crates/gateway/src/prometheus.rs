use std::time::Duration;

use evenkeel_model::Finding;
use prometheus_http_query::Client;
use prometheus_http_query::response::Data;

use crate::error::Error;

/// The gateway's own way to Prometheus: what verification believes comes from nobody else.
pub(crate) struct Prometheus {
    client: Client,
    timeout: Duration,
}

impl Prometheus {
    /// A client for a base URL.
    ///
    /// # Errors
    /// When the URL is none.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, Error> {
        let bad = |error: &dyn std::fmt::Display| Error::Prometheus(evenkeel_runtime::redact::text(&error.to_string()));
        let http = reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none());
        let http = http.build().map_err(|error| bad(&error))?;
        let client = Client::from(http, url).map_err(|error| bad(&error))?;
        Ok(Self { client, timeout })
    }

    /// The value of an instant query: none where the result is empty, unknown where it is more than one.
    pub(crate) async fn ask(&self, expression: &str) -> Finding {
        let milliseconds = i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX);
        let answer = self.client.query(expression).timeout(milliseconds).post().await;
        match answer {
            Ok(answer) => value(answer.data()),
            Err(error) => {
                let reason = evenkeel_runtime::redact::text(&format!("Prometheus could not be asked: {error}"));
                Finding::Unknown { reason }
            }
        }
    }
}

fn value(data: &Data) -> Finding {
    let unknown = |reason: String| Finding::Unknown { reason };
    match data {
        Data::Scalar(sample) => Finding::Value(Some(sample.value())),
        Data::Vector(samples) => match samples.as_slice() {
            [] => Finding::Value(None),
            [one] => Finding::Value(Some(one.sample().value())),
            more => unknown(format!("expected one value, found {}: aggregate the query", more.len())),
        },
        Data::Matrix(_) => unknown("expected one value, found a range: use an instant query".to_owned()),
    }
}
