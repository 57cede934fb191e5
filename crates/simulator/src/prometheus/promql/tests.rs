use std::time::Duration;

use super::*;
use crate::prometheus::labels::NAME;

/// A minute between samples, ten of them; the last at 540 s.
fn storage() -> Storage {
    let mut storage = Storage::new(Duration::from_secs(7200));
    type Written<'a> = (&'a [(&'a str, &'a str)], &'a [f64]);
    let all: [Written<'_>; 3] = [
        (
            &[(NAME, "requests_total"), ("pod", "a"), ("code", "200")],
            &[0., 60., 120., 180., 240., 300., 360., 420., 480., 540.],
        ),
        (&[(NAME, "requests_total"), ("pod", "a"), ("code", "500")], &[0., 6., 12., 18., 24., 30., 0., 6., 12., 18.]),
        (&[(NAME, "ready"), ("pod", "a")], &[0., 1., 0., 1., 1., 1., 1., 1., 1., 1.]),
    ];
    for (labels, values) in all {
        let id = storage.series(&Labels::of(labels.iter().copied()), 60_000);
        let mut at = 0;
        for value in values {
            storage.append(id, at, Some(*value));
            at += 60_000;
        }
    }
    storage.advance(540_000);
    storage
}

fn ask(expression: &str) -> String {
    let storage = storage();
    let evaluator = Evaluator { storage: &storage, step: 60_000 };
    let answer = Query::parse(expression).and_then(|query| query.evaluate(evaluator, 540_000));
    match answer {
        Ok(Answer::Scalar(value)) => format!("{value}"),
        Ok(Answer::Text(text)) => text,
        Ok(Answer::Vector(samples)) => {
            let one =
                |sample: &Sample| format!("{}{} {}", sample.labels.get(NAME), sample.labels.nameless(), sample.value);
            samples.iter().map(one).collect::<Vec<String>>().join("; ")
        }
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn what_is_not_simulated_or_makes_no_sense_is_refused_by_name() {
    for (expression, expected) in [
        ("stddev(ready)", "error: not simulated: the aggregation stddev in stddev(ready)"),
        ("1 + hour()", "error: not simulated: the function hour in 1 + hour()"),
        ("ready[5m]", "error: not simulated: a range vector as a result in ready[5m]"),
        (r#"sum(up{a="b" or c="d"})"#, r#"error: not simulated: or between label matchers in sum(up{a="b" or c="d"})"#),
        (
            "rate(requests_total)",
            "error: rate(requests_total): expected type matrix in call to function 'rate', got vector",
        ),
        (
            "requests_total / on (pod) ready",
            "error: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        ),
    ] {
        assert_eq!(ask(expression), expected, "{expression}");
    }
    assert!(
        ask("ready / on (pod) requests_total")
            .starts_with("error: found duplicate series for the match group {pod=\"a\"} on the right")
    );
}

#[test]
fn a_value_is_reused_while_nothing_changed_in_what_it_reads() {
    let storage = storage();
    let is_still = |expression: &str, then| Query::parse(expression).unwrap().is_still(&storage, then);
    // The last samples are of 540 s: appended ones count as changes.
    assert!(is_still("ready == 1", 540_000) && is_still("nothing or ready", 540_000));
    assert!(!is_still("changes(ready[10m])", 1_139_999) && is_still("changes(ready[10m])", 1_140_000));
    assert!(!is_still("time() - ready", 9_999_999) && !is_still("ready offset -5m", 9_999_999));
}
