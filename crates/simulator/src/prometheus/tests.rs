use std::time::Duration;

use serde_json::json;

use super::*;
use crate::images::ImageLife;
use crate::simulator::Options;
use crate::traffic::Traffic;
use crate::value::set;

/// A cluster without controllers: objects are put there by hand, and time passes when it is told to.
struct Stage {
    simulator: Simulator,
    looks: u32,
}

impl Stage {
    fn new() -> Self {
        let start = "2026-06-03T09:00:00Z".parse().unwrap();
        let images = [
            (
                "cart:1",
                ImageLife {
                    latency: Some(Duration::from_millis(20)),
                    cpu_per_request: Some(Duration::from_millis(5)),
                    calls: vec!["db".to_owned()],
                    ..ImageLife::default()
                },
            ),
            ("cart:2", ImageLife { error_rate: 0.5, calls: vec!["db".to_owned()], ..ImageLife::default() }),
            ("db:1", ImageLife { latency: Some(Duration::from_millis(40)), ..ImageLife::default() }),
        ];
        let images = images.into_iter().map(|(name, life)| (name.to_owned(), life)).collect();
        Self { simulator: Simulator::new(Options { start, seed: 1, images }), looks: 0 }
    }

    fn watched() -> Self {
        let stage = Self::new();
        stage.simulator.monitor(&MonitoringOptions::default()).unwrap();
        stage
    }

    fn put(&self, resource: &str, object: Value) {
        let key = Key::new(resource, crate::value::namespace(&object), crate::value::name(&object));
        self.simulator.state().store.put(&key, object);
    }

    async fn pass(&mut self, seconds: u64) {
        let until = tokio::time::Instant::now() + Duration::from_secs(seconds);
        loop {
            let due = self.simulator.state().observe();
            self.looks += 1;
            let due = due.and_then(DateTime::from_timestamp_millis).map(|due| self.simulator.clock().instant(due));
            let now = tokio::time::Instant::now();
            if now >= until {
                return;
            }
            let next = due.map_or(until, |due| due.min(until)).max(now + Duration::from_millis(1));
            tokio::time::sleep_until(next).await;
        }
    }

    fn notification(&self) -> Option<Value> {
        let mut state = self.simulator.state();
        let outbox = &mut state.monitoring.as_mut().unwrap().outbox;
        while let Some(notification) = outbox.pop_front() {
            if notification.body["commonLabels"]["alertname"] != "Watchdog" {
                return Some(notification.body);
            }
        }
        None
    }

    /// The values of an instant query by one of their labels.
    fn ask(&self, expression: &str, label: &str) -> Vec<(String, f64)> {
        let body = format!("query={}", expression.replace('%', "%25").replace('+', "%2B").replace('&', "%26"));
        let (code, answer) = self.simulator.ask("POST", "/api/v1/query", body.as_bytes());
        assert_eq!(code, 200, "{answer}");
        let result = answer["data"]["result"].as_array().unwrap().clone();
        let one = |it: &Value| {
            let value: f64 = it["value"][1].as_str().unwrap().parse().unwrap();
            (it["metric"][label].as_str().unwrap_or_default().to_owned(), (value * 1e6).round() / 1e6)
        };
        result.iter().map(one).collect()
    }
}

fn deployment(available: u32) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "cart", "generation": 2},
        "spec": {"replicas": 3},
        "status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": available},
    })
}

#[tokio::test(start_paused = true)]
async fn an_alert_goes_from_an_object_to_a_notification_and_ends() {
    let mut stage = Stage::watched();
    stage.put("deployments.apps", deployment(3));
    stage.pass(600).await;
    stage.put("deployments.apps", deployment(1));
    stage.pass(14 * 60).await;
    assert_eq!(stage.notification(), None);
    let (_, alerts) = stage.simulator.ask("GET", "/api/v1/alerts", b"");
    assert_eq!(alerts["data"]["alerts"][0]["labels"]["alertname"], "KubeDeploymentReplicasMismatch");
    assert_eq!(alerts["data"]["alerts"][0]["state"], "pending");
    stage.pass(3 * 60).await;
    let told = stage.notification().unwrap();
    assert_eq!(told["groupKey"], r#"{}:{alertname="KubeDeploymentReplicasMismatch", namespace="shop"}"#);
    let alert = &told["alerts"][0];
    assert_eq!(alert["labels"]["deployment"], "cart");
    // The exporter's own pod, since a Deployment has none.
    assert_eq!(alert["labels"]["pod"], "kube-prometheus-stack-kube-state-metrics-6f8b4d7c9-x2v4k");
    assert_eq!((&alert["labels"]["namespace"], &alert["startsAt"]), (&json!("shop"), &json!("2026-06-03T09:25:30Z")));
    assert_eq!(
        stage.ask(r#"ALERTS{alertstate="firing",severity="warning"}"#, "deployment"),
        [("cart".to_owned(), 1.0)]
    );
    let (code, listed) = stage.simulator.ask("GET", "/api/v2/alerts?filter=severity%3Dwarning", b"");
    assert_eq!((code, &listed[0]["status"]["state"]), (200, &json!("active")));
    stage.put("deployments.apps", deployment(3));
    stage.pass(6 * 60).await;
    assert_eq!(stage.notification().unwrap()["status"], "resolved");
    assert!(stage.ask(r#"ALERTS{severity="warning"}"#, "deployment").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_cluster_costs_little_and_its_series_go_on() {
    let mut stage = Stage::watched();
    stage.put("deployments.apps", deployment(3));
    stage.pass(60).await;
    let before = stage.looks;
    stage.pass(3600).await;
    // Only the rule that asks for the time is evaluated, and the Watchdog is told.
    assert!(stage.looks - before <= 181, "{} looks in an hour", stage.looks - before);
    assert_eq!(
        stage.ask("count_over_time(kube_deployment_spec_replicas[30m])", "deployment"),
        [("cart".to_owned(), 60.0)]
    );
    stage.simulator.state().store.remove(&Key::new("deployments.apps", "shop", "cart"));
    stage.pass(60).await;
    assert!(stage.ask("kube_deployment_spec_replicas", "deployment").is_empty(), "stale at once");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_simulated_is_501_and_what_is_wrong_is_told() {
    let stage = Stage::new();
    let code = |stage: &Stage, method, target| stage.simulator.ask(method, target, b"").0;
    assert_eq!(code(&stage, "GET", "/api/v1/alerts"), 501, "nothing is watched");
    let stage = Stage::watched();
    for (method, target, expected) in [
        ("GET", "/api/v1/query?query=up", 200),
        ("GET", "/api/v1/query?query=up%5B5m%5D", 501),
        ("GET", "/api/v1/query?query=sum(", 400),
        ("GET", "/api/v1/query?query=up&time=soon", 400),
        ("GET", "/api/v1/query_range?query=up", 501),
        ("GET", "/api/v2/silences", 200),
        ("DELETE", "/api/v2/silence/none", 404),
        ("POST", "/api/v2/silences", 400),
    ] {
        assert_eq!(code(&stage, method, target), expected, "{method} {target}");
    }
}

fn pod(name: &str, image: &str, port: u16) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "uid": name},
        "spec": {"containers": [{"name": "app", "image": image, "ports": [{"containerPort": port}]}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "app", "state": {"running": {}}}]},
    })
}

fn service(stage: &Stage, name: &str, target: u16, pods: &[&str]) {
    let metadata = |labels: Value| json!({"namespace": "shop", "name": name, "labels": labels});
    stage.put(
        "services",
        json!({"metadata": metadata(json!({})), "spec": {"ports": [{"port": 80, "targetPort": target}]}}),
    );
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|pod| json!({"conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": pod}}))
        .collect();
    stage.put(
        "endpointslices.discovery.k8s.io",
        json!({
            "metadata": metadata(json!({"kubernetes.io/service-name": name})),
            "ports": [{"name": "", "port": target}], "endpoints": endpoints,
        }),
    );
}

#[tokio::test(start_paused = true)]
async fn requests_flow_to_ready_pods_and_onward() {
    let mut stage = Stage::watched();
    stage.put("pods", pod("cart-1", "cart:1", 8080));
    stage.put("pods", pod("cart-2", "cart:2", 8080));
    stage.put("pods", pod("db-1", "db:1", 5432));
    service(&stage, "cart", 8080, &["cart-1", "cart-2"]);
    service(&stage, "db", 5432, &["db-1"]);
    stage.simulator.set_traffic(vec![Traffic { service: "shop/cart".to_owned(), rate: 100.0 }]);
    stage.pass(600).await;
    let share = |stage: &Stage| {
        stage.simulator.failed_share("shop/cart", Duration::from_secs(60)).map(|it| (it * 1000.0).round() / 1000.0)
    };
    assert_eq!(share(&stage), Some(0.25), "half of the second pod's");
    let rates = stage.ask("sum by (pod, code) (rate(http_requests_total{service='cart'}[5m]))", "pod");
    let expected = [("cart-1", 50.0), ("cart-2", 25.0), ("cart-2", 25.0)].map(|(pod, rate)| (pod.to_owned(), rate));
    assert_eq!(rates, expected);
    assert_eq!(
        stage.ask("sum by (service) (rate(http_requests_total{service='db'}[5m]))", "service"),
        [("db".to_owned(), 75.0)]
    );
    let latency = "histogram_quantile(1, sum by (le) (rate(http_request_duration_seconds_bucket{pod='cart-1'}[5m])))";
    assert_eq!(stage.ask(latency, "le"), [(String::new(), 0.1)], "60 ms are in the bucket up to 100 ms");
    assert_eq!(stage.simulator.state().traffic.cpu("shop", "cart-1"), 0.25);
    // The database's port is another than its pod's: connections are refused, and the cart fails with it.
    service(&stage, "db", 5433, &["db-1"]);
    stage.pass(120).await;
    assert_eq!(share(&stage), Some(1.0));
    service(&stage, "db", 5432, &["db-1"]);
    service(&stage, "cart", 8080, &[]);
    stage.pass(120).await;
    assert_eq!(share(&stage), Some(1.0), "nobody is there");
    assert_eq!(stage.ask("rate(http_requests_total{pod=''}[1m]) > 0", "code"), [("503".to_owned(), 100.0)]);
    service(&stage, "cart", 8080, &["cart-1"]);
    stage.pass(120).await;
    assert_eq!(share(&stage), Some(0.0));
    assert_eq!(stage.simulator.failed_share("shop/none", Duration::from_secs(60)), None);
}

#[tokio::test(start_paused = true)]
async fn requests_depend_on_flags_on_names_and_on_network_policies() {
    let mut stage = Stage::watched();
    let flagged = json!({"calls": ["db"], "when": {
        "configmap/flags/slow=on": {"latency": "2s"}, "configmap/flags/broken=on": {"errorRate": 1.0},
    }});
    stage.simulator.set_image("cart:1", serde_json::from_value(flagged).unwrap());
    stage.put("pods", pod("cart-1", "cart:1", 8080));
    stage.put("pods", pod("db-1", "db:1", 5432));
    service(&stage, "cart", 8080, &["cart-1"]);
    service(&stage, "db", 5432, &["db-1"]);
    stage.simulator.set_traffic(vec![Traffic { service: "shop/cart".to_owned(), rate: 10.0 }]);
    let share = |stage: &Stage| stage.simulator.failed_share("shop/cart", Duration::from_secs(60));
    let flags = |slow: &str, broken: &str| json!({"metadata": {"namespace": "shop", "name": "flags"}, "data": {"slow": slow, "broken": broken}});
    stage.put("configmaps", flags("on", "off"));
    stage.pass(120).await;
    let latency = "histogram_quantile(1, sum by (le) (rate(http_request_duration_seconds_bucket{service='cart'}[1m])))";
    assert_eq!((share(&stage), stage.ask(latency, "le")), (Some(0.0), vec![(String::new(), 2.5)]));
    stage.put("configmaps", flags("on", "on"));
    stage.pass(120).await;
    assert_eq!(share(&stage), Some(1.0));
    stage.put("configmaps", flags("off", "off"));
    stage.pass(120).await;
    assert_eq!(share(&stage), Some(0.0), "it follows the flag without a restart");
    stage.simulator.set_rate(Traffic { service: "shop/cart".to_owned(), rate: 40.0 });
    stage.pass(120).await;
    assert_eq!(
        stage.ask("sum by (service) (rate(http_requests_total{service='cart'}[1m]))", "service"),
        [("cart".to_owned(), 40.0)]
    );
    stage.simulator.set_rate(Traffic { service: "shop/cart".to_owned(), rate: 10.0 });
    let mut lost = pod("cart-1", "cart:1", 8080);
    set(&mut lost, "/spec/dnsPolicy", json!("Default"));
    stage.put("pods", lost);
    stage.pass(120).await;
    assert_eq!(share(&stage), Some(1.0), "the database's name can't be resolved");
    stage.put("pods", pod("cart-1", "cart:1", 8080));
    let policy = |port: u16| {
        json!({"metadata": {"namespace": "shop", "name": "deny"}, "spec": {
            "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": port}]}],
        }})
    };
    stage.put("networkpolicies.networking.k8s.io", policy(8080));
    stage.pass(120).await;
    assert_eq!(share(&stage), Some(1.0), "the database's port is closed");
    assert_eq!(
        stage.ask("sum by (code) (rate(http_requests_total{service='db'}[1m])) > 0", "code"),
        [("504".to_owned(), 10.0)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_kubelet_that_is_not_heard_of_is_down_and_tells_nothing() {
    let mut stage = Stage::watched();
    let mut node = json!({"metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "conditions": [{"type": "Ready", "status": "True"}],
    }});
    stage.put("nodes", node.clone());
    let mut on_node = pod("cart-1", "cart:1", 8080);
    set(&mut on_node, "/spec/nodeName", json!("n1"));
    stage.put("pods", on_node);
    stage.pass(60).await;
    assert_eq!(stage.ask("kubelet_running_pods", "instance"), [("10.0.0.1:10250".to_owned(), 1.0)]);
    set(&mut node, "/status/conditions/0/status", json!("Unknown"));
    stage.put("nodes", node);
    stage.pass(60).await;
    assert_eq!(stage.ask(r#"up{job="kubelet"}"#, "node"), [("n1".to_owned(), 0.0)]);
    assert!(stage.ask("kubelet_running_pods", "instance").is_empty());
    assert_eq!(
        stage.ask(r#"kube_node_status_condition{condition="Ready"} == 1"#, "status"),
        [("unknown".to_owned(), 1.0)]
    );
}

/// What Alertmanager tells within half an hour of a cluster whose new image crashes after ten minutes.
async fn story(seed: u64) -> Vec<String> {
    let start = "2026-06-03T09:00:00Z".parse().unwrap();
    let crash = serde_json::from_value(json!({"crash": {"after": "5s", "exitCode": 1}})).unwrap();
    let images = [("cart:1".to_owned(), ImageLife::default()), ("cart:2".to_owned(), crash)].into();
    let simulator = Simulator::new(Options { start, seed, images });
    simulator.monitor(&MonitoringOptions::default()).unwrap();
    simulator.add_node("n1", &crate::NodeOptions::default()).unwrap();
    let turning = simulator.clone();
    let turning = tokio::spawn(async move { turning.run().await });
    let by = crate::api::By { user: "ana", manager: "kubectl", dry_run: false };
    let template = |image: &str| {
        json!({"metadata": {"labels": {"app": "cart"}}, "spec": {"containers": [
            {"name": "cart", "image": image, "ports": [{"containerPort": 8080}]},
        ]}})
    };
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "default", "name": "cart"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "cart"}}, "template": template("cart:1")},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "cart"},
        "spec": {"selector": {"app": "cart"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    simulator.state().create(by, &"deployments.apps".into(), "default", deployment).unwrap();
    simulator.state().create(by, &"services".into(), "default", service).unwrap();
    simulator.set_traffic(vec![Traffic { service: "default/cart".to_owned(), rate: 10.0 }]);
    simulator.nudge();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(simulator.failed_share("default/cart", Duration::from_secs(300)), Some(0.0));
    let key = Key::new("deployments.apps", "default", "cart");
    let mut changed = Value::clone(simulator.state().store.get(&key).unwrap());
    set(&mut changed, "/spec/strategy", json!({"type": "Recreate"}));
    set(&mut changed, "/spec/template", template("cart:2"));
    simulator.state().replace(by, &key, crate::api::Part::Main, changed).unwrap();
    simulator.nudge();
    let mut told = Vec::new();
    let listening = simulator.clone();
    let listen = async {
        loop {
            let body = listening.next_notification().await.body;
            let name = body["groupLabels"]["alertname"].as_str().unwrap().to_owned();
            if name != "Watchdog" {
                told.push(format!(
                    "{} {name} {}",
                    listening.clock().now().format("%H:%M:%S"),
                    body["status"].as_str().unwrap()
                ));
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(1800), listen).await.unwrap_err();
    assert!(simulator.failed_share("default/cart", Duration::from_secs(300)).unwrap() > 0.9);
    assert_eq!(simulator.failure(), None);
    turning.abort();
    told
}

#[tokio::test(start_paused = true)]
async fn a_bad_image_in_the_whole_cluster_raises_the_alerts_that_it_would_raise() {
    let told = story(7).await;
    // Ready for 5 seconds of each restart, which some scrapes see: alerts on readiness come and go, as real ones do.
    assert_eq!(told.first().map(String::as_str), Some("09:26:30 KubePodCrashLooping firing"), "{told:?}");
    assert_eq!(told, story(7).await, "the same seed, the same alerts");
}
