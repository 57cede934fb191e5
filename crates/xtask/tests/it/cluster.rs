//! Whole clusters: they come up, run what they should, and leave nothing behind however they end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use evenkeel_xtask::cluster::{self, Addon, Cluster, ClusterOptions, Node};

const DEPLOYMENT: &str = r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
    "replicas": 2,
    "selector": {"matchLabels": {"app": "web"}},
    "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "web", "image": "registry.example/app:v1",
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}}]}}}}"#;

/// Processes that mention the directory in their command line.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&dir) {
            found.push(line);
        }
    }
    found
}

fn cgroups() -> Vec<String> {
    let mut found = Vec::new();
    for controller in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        for group in std::fs::read_dir(controller.path()).into_iter().flatten().flatten() {
            let name = group.file_name().to_string_lossy().into_owned();
            if name.starts_with("evenkeel-") {
                found.push(group.path().display().to_string());
            }
        }
    }
    found
}

/// The cgroup of the cluster in `dir`.
fn cgroup_of(dir: &Path) -> String {
    let plan: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("plan.json")).unwrap()).unwrap();
    plan["cgroup"].as_str().unwrap().to_owned()
}

/// How long anything is waited for: no claim about speed, only the end of patience with a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn eventually(what: &str, holds: impl FnMut() -> bool) {
    eventually_or(what, holds, String::new);
}

/// The same; when patience ends, `state` says how things stand.
fn eventually_or(what: &str, mut holds: impl FnMut() -> bool, state: impl Fn() -> String) {
    #[allow(clippy::disallowed_methods, reason = "the tests' own clock")]
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited {} s for {what}\n{}", PATIENCE.as_secs(), state());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// One cluster at a time: a machine with many cores need not hold as many clusters.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn becomes_available(cluster: &Cluster) {
    cluster.kubectl_with(&["apply", "-f", "-"], DEPLOYMENT).unwrap();
    cluster.kubectl(&["wait", "deployment/web", "--for=condition=Available", "--timeout=60s"]).unwrap();
}

#[test]
fn fake_nodes_make_a_deployment_available_and_leave_nothing_behind() {
    let _turn = turn();
    let cluster = Cluster::up(ClusterOptions::kwok()).unwrap();
    becomes_available(&cluster);
    let dir = cluster.dir().to_path_buf();
    assert!(!processes_of(&dir).is_empty());
    assert!(std::fs::read_to_string(cluster.audit_log()).unwrap().contains("\"verb\":\"create\""));
    drop(cluster);
    assert_eq!(processes_of(&dir), Vec::<String>::new());
    assert!(!dir.exists());
}

#[test]
fn a_silent_fake_node_stays_silent_until_it_is_let_back() {
    let _turn = turn();
    let cluster = Cluster::up(ClusterOptions { node: Node::Kwok { nodes: 2 }, ..ClusterOptions::kwok() }).unwrap();
    let ready = |name: &str| {
        cluster
            .kubectl(&["get", "node", name, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"])
            .unwrap()
    };
    let taints = || cluster.kubectl(&["get", "node", "kwok-node-1", "-o", "jsonpath={.spec.taints[*].key}"]).unwrap();
    cluster.node_not_ready("kwok-node-1").unwrap();
    eventually("the node controller to notice", || taints().contains("node.kubernetes.io/unreachable"));
    assert_eq!(ready("kwok-node-1"), "Unknown");
    assert_eq!(ready("kwok-node-0"), "True");
    cluster.node_ready("kwok-node-1").unwrap();
    eventually("the node to be back", || ready("kwok-node-1") == "True" && taints().is_empty());
}

#[test]
fn addons_stop_and_start_where_they_were() {
    let _turn = turn();
    let options = ClusterOptions { alertmanagers: 2, ..ClusterOptions::kwok() };
    let options = options.with(Addon::Nats).with(Addon::Prometheus).with(Addon::Alertmanager);
    let cluster = Cluster::up(options).unwrap();
    let nats = cluster.nats_url();
    let nats_answers = || std::net::TcpStream::connect(nats.trim_start_matches("nats://")).is_ok();
    assert!(nats_answers());
    cluster.kill("nats").unwrap();
    assert!(!nats_answers());
    cluster.start("nats").unwrap();
    assert!(nats_answers());
    cluster.kill("kube-apiserver").unwrap();
    assert!(cluster.kubectl(&["get", "nodes", "--request-timeout=2s"]).is_err());
    cluster.start("kube-apiserver").unwrap();
    becomes_available(&cluster);
    cluster.set_alertmanager_config(&cluster::webhook_receiver("http://127.0.0.1:9/none", "token")).unwrap();
    cluster.set_prometheus_rules("groups: [{name: a, rules: [{alert: Always, expr: vector(1)}]}]").unwrap();
    let error = cluster.stop("nothing").unwrap_err().to_string();
    assert!(error.contains("no service \"nothing\""), "{error}");
}

#[test]
fn somebody_else_has_only_what_rbac_gives_them() {
    let _turn = turn();
    let cluster = Cluster::up(ClusterOptions { node: Node::Kwok { nodes: 1 }, ..ClusterOptions::kwok() }).unwrap();
    let alice = cluster.kubeconfig_for("alice", Some("sre")).unwrap();
    let alice = alice.display().to_string();
    let who = cluster
        .kubectl(&["--kubeconfig", &alice, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"])
        .unwrap();
    assert_eq!(who, "alice");
    let error = cluster.kubectl(&["--kubeconfig", &alice, "get", "pods"]).unwrap_err().to_string();
    assert!(error.contains("Forbidden"), "{error}");
}

#[test]
fn a_real_node_runs_pods_and_leaves_nothing_behind() {
    let _turn = turn();
    let cluster = Cluster::up(ClusterOptions::real()).unwrap();
    becomes_available(&cluster);
    cluster.images().unwrap().add("registry.example/shop/web:late", &["serve", "--version", "late"], &[]).unwrap();
    cluster.kubectl(&["run", "late", "--image=registry.example/shop/web:late"]).unwrap();
    cluster.kubectl(&["wait", "pod/late", "--for=condition=Ready", "--timeout=60s"]).unwrap();
    assert!(cluster.kubectl(&["logs", "late"]).unwrap().contains("serving late"));
    let dir = cluster.dir().to_path_buf();
    let cgroup = cgroup_of(&dir);
    assert!(cgroups().iter().any(|path| path.ends_with(&cgroup)));
    drop(cluster);
    assert_eq!(processes_of(&dir), Vec::<String>::new());
    assert!(!cgroups().iter().any(|path| path.ends_with(&cgroup)));
}

#[test]
fn two_real_clusters_run_side_by_side_each_in_its_own_network() {
    let _turn = turn();
    let one = Cluster::up(ClusterOptions::real()).unwrap();
    let two = Cluster::up(ClusterOptions::real()).unwrap();
    one.kubectl(&["create", "namespace", "only-here"]).unwrap();
    assert!(one.kubectl(&["get", "namespace", "only-here"]).is_ok());
    assert!(two.kubectl(&["get", "namespace", "only-here"]).is_err());
}

/// A process of its own that brings up a cluster and waits to be killed: this test binary, asked for the ignored
/// test below. Gives the cluster's directory too.
fn owner(kind: &str) -> (Child, PathBuf) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "cluster::owns_a_cluster_until_killed", "--nocapture"])
        .env("EVENKEEL_OWNER", kind)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let up = lines.find_map(|line| Some(line.split_once("cluster is up in ")?.1.into()));
    (child, up.unwrap())
}

#[test]
#[ignore = "run by the test that kills it"]
fn owns_a_cluster_until_killed() {
    #[allow(clippy::disallowed_methods, reason = "how the killing test says what to own")]
    let kind = std::env::var("EVENKEEL_OWNER").unwrap();
    let cluster = Cluster::up(if kind == "real" { ClusterOptions::real() } else { ClusterOptions::kwok() }).unwrap();
    if kind == "real" {
        becomes_available(&cluster);
    }
    println!("cluster is up in {}", cluster.dir().display());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_owner_leaves_nothing() {
    let _turn = turn();
    for kind in ["kwok", "real"] {
        let (mut owner, dir) = owner(kind);
        assert!(processes_of(&dir).len() > 4);
        let cgroup = cgroup_of(&dir);
        owner.kill().unwrap();
        owner.wait().unwrap();
        eventually("the processes to end", || processes_of(&dir).is_empty());
        eventually("the cgroups to go", || !cgroups().iter().any(|path| path.ends_with(&cgroup)));
        eventually("the directory to go", || !dir.exists());
    }
}

#[test]
fn a_killed_holder_takes_its_children_along() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    cluster::up(ClusterOptions { node: Node::Kwok { nodes: 1 }, ..ClusterOptions::kwok() }, dir.path(), &|_| {})
        .unwrap();
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("state.json")).unwrap()).unwrap();
    let holder = state["holder"]["pid"].to_string();
    assert!(Command::new("kill").args(["-9", &holder]).status().unwrap().success());
    eventually("the children to end", || processes_of(dir.path()).is_empty());
    cluster::down(dir.path()).unwrap();
    cluster::down(dir.path()).unwrap();
}

#[test]
fn a_fake_nodes_pods_fail_as_their_image_tag_says() {
    let _turn = turn();
    let cluster = Cluster::up(ClusterOptions { node: Node::Kwok { nodes: 1 }, ..ClusterOptions::kwok() }).unwrap();
    for tag in ["v1-crash", "oom", "missing", "unready"] {
        let image = format!("--image=registry.example/app:{tag}");
        cluster.kubectl(&["run", &format!("pod-{tag}"), &image]).unwrap();
    }
    let status = |pod: &str, path: &str| {
        cluster
            .kubectl(&["get", "pod", pod, "-o", &format!("jsonpath={{.status.containerStatuses[0]{path}}}")])
            .unwrap()
    };
    eventually("a crash loop", || status("pod-v1-crash", ".state.waiting.reason") == "CrashLoopBackOff");
    eventually("a restart", || status("pod-v1-crash", ".restartCount").parse::<u32>().unwrap() >= 2);
    eventually("an OOM kill", || status("pod-oom", ".lastState.terminated.reason") == "OOMKilled");
    eventually("a failed pull", || status("pod-missing", ".state.waiting.reason") == "ImagePullBackOff");
    eventually("an unready container", || status("pod-unready", ".ready") == "false");
    let events = cluster.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).unwrap();
    for reason in ["BackOff", "Failed", "Unhealthy"] {
        assert!(events.contains(reason), "{reason} is not among {events}");
    }
}

#[test]
fn a_reason_that_lasts_a_moment_is_exported() {
    let _turn = turn();
    let rules = r#"groups: [{name: test, rules: [{alert: Waited,
        expr: 'max_over_time(kube_pod_container_status_waiting_reason{reason=~"Moment.*"}[10m]) == 1'}]}]"#;
    let options = ClusterOptions { prometheus_rules: Some(rules.to_owned()), ..ClusterOptions::kwok() };
    let cluster = Cluster::up(options.with(Addon::Prometheus)).unwrap();
    // Nobody else writes the status of a pod that is on no node.
    let nobody = r#"--overrides={"spec": {"schedulerName": "nobody"}}"#;
    cluster.kubectl(&["run", "waits", "--image=registry.example/app:v1", nobody]).unwrap();
    let say = |state: &str| {
        let patch = format!(
            r#"{{"status": {{"containerStatuses": [{{"name": "waits", "image": "a", "imageID": "", "ready": false,
                "restartCount": 0, "state": {state}}}]}}}}"#
        );
        let patch = ["patch", "pod", "waits", "--subresource=status", "--type=merge", "--patch", &patch];
        cluster.kubectl(&patch).unwrap();
    };
    let is_exported = |reason: &str| cluster.alerting().contains(&format!("\"reason\":\"{reason}\""));
    say(r#"{"waiting": {"reason": "MomentLong"}}"#);
    eventually("the first look", || is_exported("MomentLong"));
    for moment in 0..8 {
        let reason = format!("Moment{moment}");
        say(&format!(r#"{{"waiting": {{"reason": "{reason}"}}}}"#));
        say(r#"{"running": {}}"#);
        eventually_or("the reason to be exported", || is_exported(&reason), || cluster.alerting());
    }
}

/// What the first request to the listener says, headers and body.
fn first_request(listener: &TcpListener, state: impl Fn() -> String) -> String {
    listener.set_nonblocking(true).unwrap();
    let mut stream = None;
    let accept = || {
        stream = listener.accept().ok();
        stream.is_some()
    };
    eventually_or("a request", accept, state);
    let (mut stream, _) = stream.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&bytes).contains("\"alerts\":") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the request ends early: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..read]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_crash_loop_on_a_real_node_becomes_an_alert_at_the_webhook() {
    let _turn = turn();
    let rules = r#"groups: [{name: test, rules: [{alert: KubePodCrashLooping,
        expr: 'max_over_time(kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff"}[1m]) == 1', labels: {severity: warning}}]}]"#;
    let options = ClusterOptions { prometheus_rules: Some(rules.to_owned()), ..ClusterOptions::real() };
    let cluster = Cluster::up(options.with(Addon::Prometheus).with(Addon::Alertmanager)).unwrap();
    let request = cluster.inside(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/webhooks/alertmanager", listener.local_addr().unwrap());
        cluster.set_alertmanager_config(&cluster::webhook_receiver(&url, "secret")).unwrap();
        cluster.kubectl(&["run", "breaks", "--image=registry.example/app:crash"]).unwrap();
        let state = || {
            let pods = cluster.kubectl(&["get", "pods", "-o", "wide"]).unwrap_or_default();
            format!("{}{pods}", cluster.alerting())
        };
        Ok(first_request(&listener, state))
    });
    let request = request.unwrap();
    assert!(request.contains("Authorization: Bearer secret"), "{request}");
    assert!(request.contains("KubePodCrashLooping") && request.contains("\"pod\":\"breaks\""), "{request}");
}
