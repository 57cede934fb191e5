//! How many replicas one metric asks for, as the replica calculator has it.

use serde_json::{Value, json};

use super::pods_of;
use crate::controllers::Cluster;
use crate::quantity;
use crate::value::{at, condition, integer, is_terminating, items, name, text, uid};

/// Closer than this to the target, nothing is done; in thousandths.
const TOLERANCE: i128 = 100;

/// What a metric asks for.
pub(super) struct Measured {
    pub(super) replicas: i64,
    /// As messages name it.
    pub(super) name: String,
    /// For `status.currentMetrics`.
    pub(super) status: Value,
}

/// Why a metric asks for nothing.
pub(super) struct Failure {
    pub(super) reason: &'static str,
    pub(super) resource: String,
    pub(super) message: String,
}

/// What the pods of an object use, by those that are ready and those that are not.
#[derive(Default)]
struct Usage {
    /// Used and requested, in thousandths.
    ready: Vec<(i128, i128)>,
    unready: Vec<i128>,
}

pub(super) fn measure(
    cluster: &Cluster<'_>,
    object: &Value,
    metric: &Value,
    current: i64,
) -> Result<Measured, Failure> {
    let of = text(metric, "/type");
    let resource = text(metric, "/resource/name").to_owned();
    if of != "Resource" || resource != "cpu" {
        // No adapter serves these APIs here, and of memory no use is modelled.
        let (api, reason) = match of {
            "External" => {
                ("external metrics API: the server could not find the requested resource", "FailedGetExternalMetric")
            }
            "Object" => {
                ("custom metrics API: the server could not find the requested resource", "FailedGetObjectMetric")
            }
            "Pods" => ("custom metrics API: the server could not find the requested resource", "FailedGetPodsMetric"),
            _ => ("resource metrics API: not simulated", "FailedGetResourceMetric"),
        };
        let named = [
            text(metric, "/external/metric/name"),
            text(metric, "/object/metric/name"),
            text(metric, "/pods/metric/name"),
            &resource,
        ];
        let named = named.into_iter().find(|name| !name.is_empty()).unwrap_or_default().to_owned();
        let message = format!("unable to get metric {named}: unable to fetch metrics from {api}");
        return Err(Failure { reason, resource: named, message });
    }
    let failed = |why: String| {
        let message = format!("failed to get cpu utilization: {why}");
        Failure { reason: "FailedGetResourceMetric", resource: "cpu".to_owned(), message }
    };
    let usage = usage(cluster, object).map_err(&failed)?;
    if usage.ready.is_empty() && usage.unready.is_empty() {
        let why = "unable to get metrics for resource cpu: no metrics returned from resource metrics API";
        return Err(failed(why.to_owned()));
    }
    if usage.ready.is_empty() {
        return Err(failed("did not receive metrics for targeted pods (pods might be unready)".to_owned()));
    }
    let used: i128 = usage.ready.iter().map(|(used, _)| used).sum();
    let requested: i128 = usage.ready.iter().map(|(_, requested)| requested).sum();
    let count = i128::try_from(usage.ready.len()).unwrap_or(1).max(1);
    let average = used / count;
    let by_utilization = text(metric, "/resource/target/type") != "AverageValue";
    // The ratio of what is used to what should be, in thousandths.
    let ratio = |used: i128, requested: i128, count: i128| -> i128 {
        if by_utilization {
            let target = i128::from(integer(metric, "/resource/target/averageUtilization").unwrap_or(80)).max(1);
            used * 100_000 / requested.max(1) / target
        } else {
            let target = quantity::milli(text(metric, "/resource/target/averageValue")).unwrap_or(1).max(1);
            used * 1000 / count / target
        }
    };
    let now = ratio(used, requested, count);
    let within = |ratio: i128| (ratio - 1000).abs() <= TOLERANCE;
    let replicas = if within(now) {
        current
    } else if now > 1000 && !usage.unready.is_empty() {
        // Pods that come up will take their share: they count as idle.
        let all = count + i128::try_from(usage.unready.len()).unwrap_or_default();
        let again = ratio(used, requested + usage.unready.iter().sum::<i128>(), all);
        if within(again) || again < 1000 { current } else { ceil(again * all).max(current) }
    } else {
        ceil(now * count)
    };
    let percent = used * 100 / requested.max(1);
    let mut value = json!({"averageValue": quantity::decimal_text(average)});
    let name = if by_utilization {
        value = json!({"averageUtilization": i64::try_from(percent).unwrap_or(i64::MAX), "averageValue": quantity::decimal_text(average)});
        "cpu resource utilization (percentage of request)"
    } else {
        "cpu resource"
    };
    let status = json!({"type": "Resource", "resource": {"name": "cpu", "current": value}});
    Ok(Measured { replicas, name: name.to_owned(), status })
}

fn ceil(thousandths: i128) -> i64 {
    i64::try_from((thousandths + 999) / 1000).unwrap_or(i64::MAX)
}

fn usage(cluster: &Cluster<'_>, object: &Value) -> Result<Usage, String> {
    let mut usage = Usage::default();
    for pod in pods_of(cluster, object) {
        if is_terminating(&pod) || matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed") {
            continue;
        }
        let mut requested = 0;
        for container in items(&pod, "/spec/containers") {
            let request = at(container, "/resources/requests/cpu");
            let Some(request) =
                request.as_str().and_then(quantity::milli).or_else(|| request.as_i64().map(|it| i128::from(it) * 1000))
            else {
                let container = text(container, "/name");
                return Err(format!("missing request for cpu in container {container} of Pod {}", name(&pod)));
            };
            requested += request;
        }
        let ready = condition(&pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True");
        match cluster.state.cpu_usage(uid(&pod)).filter(|_| ready) {
            Some(used) => usage.ready.push((used, requested)),
            None => usage.unready.push(requested),
        }
    }
    Ok(usage)
}
