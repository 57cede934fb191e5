//! The simulated Prometheus and Alertmanager: their answers over HTTP, and what Alertmanager posts.

use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use evenkeel_simulator::{MonitoringOptions, RuleError, Simulator, Traffic};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::stage::{Stage, Taken};
use crate::engine::{ALERTMANAGER, PROMETHEUS};
use crate::file::{Scenario, Silence, TrafficSpec};

/// Begins to watch the cluster, and to send requests through it.
pub(crate) fn begin(simulator: &Simulator, scenario: &Scenario) -> Result<(), RuleError> {
    let spec = &scenario.spec;
    simulator.set_traffic(spec.cluster.traffic.iter().map(flow).collect());
    if spec.engine.prometheus {
        let mut options = MonitoringOptions::default();
        options.rules.extend(scenario.rules.iter().cloned());
        simulator.monitor(&options)?;
    }
    Ok(())
}

/// Requests as the simulator takes them.
pub(crate) fn flow(of: &TrafficSpec) -> Traffic {
    let to = &of.to.0;
    Traffic { service: format!("{}/{}", to.namespace.as_deref().unwrap_or("default"), to.name), rate: of.rate }
}

/// Answers a request to one of them; none for any other server.
pub(crate) fn ask(simulator: &Simulator, request: &Request<Bytes>) -> Option<Response<Bytes>> {
    let uri = request.uri().to_string();
    let target = [PROMETHEUS, ALERTMANAGER].iter().find_map(|base| uri.strip_prefix(base))?;
    let (code, body) = simulator.ask(request.method().as_str(), target, request.body());
    let mut answer = Response::new(Bytes::from(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Some(answer)
}

/// Posts to the observer whatever Alertmanager sends, for as long as the simulation lasts.
pub(crate) async fn deliver(stage: Arc<Stage>) {
    loop {
        let notification = stage.simulator.next_notification().await;
        let alerts = notification.body.get("alerts").and_then(Value::as_array).cloned().unwrap_or_default();
        let taken = alerts.iter().filter_map(|alert| {
            let name = alert.pointer("/labels/alertname")?.as_str()?.to_owned();
            let starts_at = DateTime::parse_from_rfc3339(alert.get("startsAt")?.as_str()?).ok()?.to_utc();
            Some(Taken { name, starts_at })
        });
        let taken = taken.collect();
        let stage = Arc::clone(&stage);
        // Beside: a notification that is refused is sent again, and holds none of the others up.
        tokio::spawn(async move {
            if let Err(refused) = stage.notify(&notification.body, taken).await {
                stage.note(format!("Alertmanager's notification was refused: {refused}"));
            }
        });
    }
}

/// Silences alerts, as `amtool silence add` does.
pub(crate) fn silence(simulator: &Simulator, by: &str, silence: &Silence) -> Result<(), String> {
    let now = simulator.clock().now();
    let matcher =
        |(name, value): (&String, &String)| json!({"name": name, "value": value, "isRegex": false, "isEqual": true});
    let body = json!({
        "matchers": silence.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "startsAt": now,
        "endsAt": now + silence.lasts.get(),
        "createdBy": by,
        "comment": silence.comment,
    });
    match simulator.ask("POST", "/api/v2/silences", body.to_string().as_bytes()) {
        (200, _) => Ok(()),
        (code, reason) => Err(format!("Alertmanager answered {code}: {reason}")),
    }
}
