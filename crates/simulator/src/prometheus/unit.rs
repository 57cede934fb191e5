//! promtool's rule tests, run by the simulator's own evaluator: what passes there must pass here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use promql_parser::parser::Expr;
use serde::Deserialize;

use super::labels::{Labels, NAME};
use super::promql::{Answer, Evaluator, Query, Sample, millis};
use super::rules::{Phase, Rules};
use super::storage::{Millis, Storage};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule_files: Vec<String>,
    evaluation_interval: String,
    /// promtool's groups have no order but this; ours that of the file, which the files' test compares.
    #[serde(default)]
    group_eval_order: Vec<String>,
    tests: Vec<Test>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    #[serde(default)]
    name: String,
    interval: String,
    #[serde(default)]
    input_series: Vec<Input>,
    #[serde(default)]
    alert_rule_test: Vec<AlertTest>,
    #[serde(default)]
    promql_expr_test: Vec<ExpressionTest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    series: String,
    values: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertTest {
    eval_time: String,
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<Expected>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[serde(default)]
    exp_labels: BTreeMap<String, String>,
    #[serde(default)]
    exp_annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpressionTest {
    expr: String,
    eval_time: String,
    #[serde(default)]
    exp_samples: Vec<ExpectedSample>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedSample {
    #[serde(default)]
    labels: String,
    value: f64,
}

fn span(text: &str) -> Millis {
    if text == "0m" || text == "0s" || text == "0" {
        return 0;
    }
    millis(promql_parser::util::parse_duration(text).unwrap())
}

/// A series as it is written: `up{job="x"}`, `{a="b"}` or nothing.
fn series(text: &str) -> Labels {
    if text.is_empty() || text == "{}" {
        return Labels::default();
    }
    let Expr::VectorSelector(selector) = promql_parser::parser::parse(text).unwrap() else { panic!("{text}") };
    let named = selector.name.iter().map(|name| (NAME.to_owned(), name.clone()));
    let matchers = selector.matchers.matchers.iter().map(|it| (it.name.clone(), it.value.clone()));
    Labels::of(named.chain(matchers))
}

/// promtool's notation of samples: `1 2 _ stale 0+5x3 1x2 _x3`.
fn values(text: &str) -> Vec<Option<Option<f64>>> {
    let mut all = Vec::new();
    for word in text.split_whitespace() {
        let (what, times) = match word.rsplit_once('x') {
            Some((what, times)) => (what, Some(times.parse::<u32>().unwrap())),
            None => (word, None),
        };
        match what {
            "_" => all.extend(std::iter::repeat_n(None, times.unwrap_or(1) as usize)),
            "stale" => all.push(Some(None)),
            number => {
                let sign = number.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-')).map(|(place, _)| place);
                let (start, step) = match sign {
                    Some(place) => (number[..place].parse::<f64>().unwrap(), number[place..].parse::<f64>().unwrap()),
                    None => (number.parse::<f64>().unwrap(), 0.0),
                };
                all.extend((0..=times.unwrap_or(0)).map(|it| Some(Some(step.mul_add(f64::from(it), start)))));
            }
        }
    }
    all
}

fn run(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let file: File = serde_saphyr::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for test in &file.tests {
        let mut rules = Rules::default();
        for name in &file.rule_files {
            let text = std::fs::read_to_string(path.with_file_name(name)).unwrap();
            let places: Vec<usize> =
                file.group_eval_order.iter().map(|group| text.find(&format!("- name: {group}\n")).unwrap()).collect();
            assert!(places.is_sorted(), "{name}: another order than group_eval_order");
            rules.add(name, &text).unwrap();
        }
        let mut storage = Storage::new(Duration::from_secs(10 * 86_400));
        let interval = span(&test.interval);
        for input in &test.input_series {
            let id = storage.series(&series(&input.series), interval);
            for (place, value) in values(&input.values).into_iter().enumerate() {
                if let Some(value) = value {
                    storage.append(id, Millis::try_from(place).unwrap() * interval, value);
                }
            }
        }
        wrong.extend(check(test, &mut rules, &mut storage, span(&file.evaluation_interval)));
    }
    wrong
}

fn check(test: &Test, rules: &mut Rules, storage: &mut Storage, step: Millis) -> Vec<String> {
    let mut wrong = Vec::new();
    let alerts = test.alert_rule_test.iter().map(|it| span(&it.eval_time));
    let expressions = test.promql_expr_test.iter().map(|it| span(&it.eval_time));
    let times: BTreeSet<Millis> = alerts.chain(expressions).collect();
    let mut next = 0;
    for time in times {
        while next <= time {
            storage.advance(next);
            rules.evaluate(storage, step, next).unwrap();
            next += step;
        }
        storage.advance(time);
        for asked in test.alert_rule_test.iter().filter(|it| span(&it.eval_time) == time) {
            let mut expected: Vec<(Labels, Labels)> = asked
                .exp_alerts
                .iter()
                .map(|it| {
                    (
                        Labels::of(it.exp_labels.clone()).with("alertname", &asked.alertname),
                        Labels::of(it.exp_annotations.clone()),
                    )
                })
                .collect();
            let firing = rules.active().filter(|(_, labels, active)| {
                active.phase == Phase::Firing && labels.get("alertname") == asked.alertname
            });
            let mut found: Vec<(Labels, Labels)> =
                firing.map(|(_, labels, active)| (labels.clone(), active.annotations.clone())).collect();
            expected.sort();
            found.sort();
            if found != expected {
                wrong.push(format!(
                    "{}: {} at {}: expected {expected:?}, found {found:?}",
                    test.name, asked.alertname, asked.eval_time
                ));
            }
        }
        for asked in test.promql_expr_test.iter().filter(|it| span(&it.eval_time) == time) {
            let answer = Query::parse(&asked.expr).unwrap().evaluate(Evaluator { storage, step }, time);
            let mut found: Vec<Sample> = match answer.unwrap() {
                Answer::Vector(samples) => samples,
                Answer::Scalar(value) => vec![Sample { labels: Labels::default(), value }],
                Answer::Text(text) => panic!("{text}"),
            };
            let sample = |it: &ExpectedSample| Sample { labels: series(&it.labels), value: it.value };
            let mut expected: Vec<Sample> = asked.exp_samples.iter().map(sample).collect();
            expected.sort_by(|a, b| a.labels.cmp(&b.labels));
            found.sort_by(|a, b| a.labels.cmp(&b.labels));
            // As promtool compares: up to the last bits of a float.
            let near =
                |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * a.abs().max(b.abs());
            let same = found.len() == expected.len()
                && found.iter().zip(&expected).all(|(a, b)| a.labels == b.labels && near(a.value, b.value));
            if !same {
                wrong.push(format!("{} at {}: expected {expected:?}, found {found:?}", asked.expr, asked.eval_time));
            }
        }
    }
    wrong
}

fn rules_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../simulations/rules")
}

#[test]
fn promql_gives_what_promtool_says_that_prometheus_gives() {
    assert_eq!(run(&rules_directory().join("promql_test.yaml")), Vec::<String>::new());
}

#[test]
fn the_shipped_rules_pass_promtools_tests() {
    assert_eq!(run(&rules_directory().join("kubernetes_test.yaml")), Vec::<String>::new());
}

#[test]
fn the_rules_on_services_pass_promtools_tests() {
    assert_eq!(run(&rules_directory().join("services_test.yaml")), Vec::<String>::new());
}

#[test]
fn evenkeels_own_alerts_pass_promtools_tests() {
    let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../alerts/evenkeel.test.yaml");
    assert_eq!(run(&alerts), Vec::<String>::new());
}
/// Every rule is tested at least once where it fires and once where it does not.
#[test]
fn every_shipped_alert_has_a_test_where_it_fires_and_one_where_it_does_not() {
    let mut rules = Rules::default();
    for (name, text) in super::SHIPPED_RULES {
        rules.add(name, text).unwrap();
    }
    let text = std::fs::read_to_string(rules_directory().join("kubernetes_test.yaml")).unwrap();
    let file: File = serde_saphyr::from_str(&text).unwrap();
    let tests: Vec<&AlertTest> = file.tests.iter().flat_map(|test| &test.alert_rule_test).collect();
    for name in rules.alert_names().filter(|name| *name != "Watchdog") {
        let of = |fires: bool| tests.iter().any(|it| it.alertname == name && it.exp_alerts.is_empty() != fires);
        assert!(of(true) && of(false), "{name}");
    }
}

/// The README's table and the rules cover all alerts of kube-prometheus-stack, none twice.
#[test]
fn each_alert_of_kube_prometheus_stack_is_shipped_or_the_readme_says_why_not() {
    let mut rules = Rules::default();
    for (name, text) in super::SHIPPED_RULES {
        rules.add(name, text).unwrap();
    }
    let shipped: BTreeSet<&str> = rules.alert_names().collect();
    let readme = std::fs::read_to_string(rules_directory().join("README.md")).unwrap();
    let missing: BTreeMap<&str, usize> = readme
        .lines()
        .filter_map(|line| match line.split('|').map(str::trim).collect::<Vec<_>>()[..] {
            ["", alert, count, why, ""] if !why.is_empty() => Some((alert, count.parse().ok()?)),
            _ => None,
        })
        .collect();
    let table =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../observer/data/alerts.tsv")).unwrap();
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for alert in table.lines().skip(1).filter_map(|line| line.split('\t').next()) {
        *all.entry(alert).or_default() += 1;
    }
    for (alert, count) in &all {
        assert_eq!(missing.get(alert).or(shipped.contains(alert).then_some(count)), Some(count), "{alert}");
        assert!(!(missing.contains_key(alert) && shipped.contains(alert)), "{alert} is in both");
    }
    assert!(missing.keys().all(|alert| all.contains_key(alert)), "a row of the README is of no alert");
    let left: usize = missing.values().sum();
    let said = format!("{} are here, and these {left} are not", all.values().sum::<usize>() - left);
    assert!(readme.contains(&said), "{said}");
}
