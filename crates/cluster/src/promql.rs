//! Prometheus' answers to instant queries, for whoever asked: evidence and verification.

use evenkeel_model::Finding;
use serde::Deserialize;

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

fn unknown(reason: impl Into<String>) -> Finding {
    Finding::Unknown { reason: reason.into() }
}

/// The value of an instant query's answer: none where the result is empty, unknown where it is more than one.
pub fn value(body: &[u8]) -> Finding {
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
