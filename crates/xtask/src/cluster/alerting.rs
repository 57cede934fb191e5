//! How alerts stand on their way, for the message of a test that waited for one in vain.

use super::Cluster;
use crate::http;

/// What is asked, in the order in which an alert passes.
const OF_PROMETHEUS: [&str; 5] =
    ["/api/v1/targets?state=active", "/api/v1/rules", "/api/v1/alerts", "/api/v1/alertmanagers", "/metrics"];

/// Of the metrics, what says how alerts fared.
const TELLING: [&str; 2] = ["prometheus_notifications_", "alertmanager_notifications_"];

impl Cluster {
    /// What Prometheus and the Alertmanagers say of their targets, rules, alerts and notifications.
    #[must_use]
    pub fn alerting(&self) -> String {
        let ports = &self.plan.ports;
        let alertmanagers = ports.alertmanagers.iter().take(usize::from(self.plan.options.alertmanagers));
        let asked = OF_PROMETHEUS
            .iter()
            .map(|path| (ports.prometheus, *path))
            .chain(alertmanagers.flat_map(|(port, _)| [(*port, "/api/v2/alerts"), (*port, "/metrics")]));
        let ask = || {
            let lines = asked.map(|(port, path)| {
                let answer = http::get(port, path).map_or_else(|| "no answer".to_owned(), |(_, body)| body);
                format!("{port}{path}: {}\n", if path == "/metrics" { telling(&answer) } else { answer })
            });
            Ok(lines.collect::<String>())
        };
        self.inside(ask).unwrap_or_else(|error| format!("{error:#}"))
    }
}

fn telling(metrics: &str) -> String {
    let lines = metrics.lines().filter(|line| TELLING.iter().any(|prefix| line.starts_with(prefix)));
    let eventful = lines.filter(|line| !line.ends_with(" 0"));
    eventful.map(|line| format!("\n{line}")).collect()
}
