use evenkeel_model::Finding;
use serde::Deserialize;

use super::{Evidence, unknown};
use crate::poll::HttpError;

/// The longest expression asked.
const MAX_EXPRESSION_BYTES: usize = 16 * 1024;

/// Prometheus' answer to an instant query, as far as it is needed.
#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Sample),
    Vector(Vec<Element>),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Element {
    value: Sample,
}

/// Seconds since the epoch, and the value as text: JSON has no NaN.
#[derive(Deserialize)]
struct Sample(#[expect(dead_code, reason = "the place has to be there")] f64, String);

impl Evidence {
    /// The value of an instant query.
    pub(super) async fn promql(&self, expression: &str) -> Finding {
        if expression.len() > MAX_EXPRESSION_BYTES {
            return unknown(format!("expected PromQL of at most {MAX_EXPRESSION_BYTES} bytes"));
        }
        match self.query(expression).await {
            Ok(body) => value(&body),
            Err(error) => unknown(format!("Prometheus could not be asked: {error}")),
        }
    }

    async fn query(&self, expression: &str) -> Result<Vec<u8>, HttpError> {
        let Some(server) = &self.prometheus else {
            return Err(HttpError::Request("none is configured (observer.prometheus.url)".to_owned()));
        };
        let _turn = self.queries.acquire().await.map_err(|error| HttpError::Request(error.to_string()))?;
        let client = prometheus_http_query::Client::from(server.client().clone(), server.base().as_str());
        let client = client.map_err(|error| HttpError::Request(error.to_string()))?;
        let milliseconds = i64::try_from(self.config.timeout.get().as_millis()).unwrap_or(i64::MAX);
        let mut query = client.query(expression).timeout(milliseconds);
        if let Some(authorization) = server.authorization().await? {
            query = query.header("authorization", authorization);
        }
        let response = query.post_raw().await.map_err(|error| HttpError::Request(error.to_string()))?;
        server.body(response).await
    }
}

fn value(body: &[u8]) -> Finding {
    let answer: Answer = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(error) => return unknown(format!("Prometheus' answer can't be read: {error}")),
    };
    match answer.data {
        Data::Scalar(sample) => number(&sample),
        Data::Vector(samples) => match samples.as_slice() {
            [] => Finding::Value(None),
            [one] => number(&one.value),
            more => unknown(format!("expected one value, found {}: aggregate the query", more.len())),
        },
        Data::Matrix(_) | Data::String(_) => unknown("expected one value, found a range or a text".to_owned()),
    }
}

/// NaN is what a ratio of nothing to nothing gives: no value. So is infinity, which JSON can't carry.
fn number(Sample(_, text): &Sample) -> Finding {
    match text.parse::<f64>() {
        Ok(number) => Finding::Value(Some(number).filter(|number| number.is_finite())),
        Err(_) => unknown(format!("expected a number, found {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_one_and_nothing_is_none() {
        let of = |kind: &str, result: &str| {
            value(format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#).as_bytes())
        };
        assert_eq!(of("vector", r#"[{"metric":{},"value":[1.5,"0.25"]}]"#), Finding::Value(Some(0.25)));
        assert_eq!(of("scalar", r#"[1.5,"7"]"#), Finding::Value(Some(7.0)));
        assert_eq!(of("vector", "[]"), Finding::Value(None));
        assert_eq!(of("vector", r#"[{"metric":{},"value":[1.5,"NaN"]}]"#), Finding::Value(None));
        assert_eq!(of("vector", r#"[{"metric":{},"value":[1.5,"+Inf"]}]"#), Finding::Value(None));
        for (kind, result) in [
            ("vector", r#"[{"metric":{"a":"1"},"value":[1,"1"]},{"metric":{"a":"2"},"value":[1,"2"]}]"#),
            ("matrix", "[]"),
            ("vector", "5"),
        ] {
            assert!(matches!(of(kind, result), Finding::Unknown { .. }), "{kind} {result}");
        }
    }
}
