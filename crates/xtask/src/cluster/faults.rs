//! How a fake node's pods fail: KWOK stages with statuses and events worded like a kubelet's.
//!
//! The tag of a pod's first image decides, so nothing in the object tells an observer that a fault is scripted:
//! `app:crash` and `app:v2-crash` both crash, and so on for `missing`, `oom` and `unready`.

use std::time::Duration;

const EVENT: &str = include_str!("../../../../tests/cluster/kwok-fault-event.yaml");
const STATUS: &str = include_str!("../../../../tests/cluster/kwok-fault-status.yaml");

const IMAGE: &str = "$c.image";

/// When a stage applies, besides the tag.
#[derive(Clone, Copy)]
enum When {
    /// The pod is new on its node.
    New,
    /// Its container waits for this reason.
    Waiting(&'static str),
    /// Its container runs.
    Running,
}

/// How long until a stage is played.
#[derive(Clone, Copy)]
enum Delay {
    After(Duration),
    /// Doubling with each restart: 1 s, 2 s, 4 s, 8 s, where a kubelet begins with 10 s and goes on to 5 min.
    Backoff,
}

/// A container's state, as text that KWOK renders.
struct Container {
    ready: bool,
    started: bool,
    restarts: &'static str,
    state: String,
    last: String,
    /// Which container it is: none yet, this one, or the next.
    id: Option<&'static str>,
}

fn event(reason: &str, kind: &str, key: &str, message: &str) -> String {
    EVENT.replace("@REASON@", reason).replace("@TYPE@", kind).replace("@KEY@", key).replace("@MESSAGE@", message)
}

fn status(phase: &str, container: &Container) -> String {
    let truth = |value: bool| if value { "True" } else { "False" };
    let unready =
        r#", reason: ContainersNotReady, message: {{ printf "containers with unready status: [%s]" $c.name | Quote }}"#;
    let image_id = r#"{{ printf "%s@sha256:%s" $c.image (sha256sum $c.image) | Quote }}"#;
    let id = container.id.map_or_else(|| "\"\"".to_owned(), |id| format!("{{{{ {id} | Quote }}}}"));
    STATUS
        .replace("@READY@", truth(container.ready))
        .replace("@WHY@", if container.ready { "" } else { unready })
        .replace("@IMAGE_ID@", if container.id.is_some() { image_id } else { "\"\"" })
        .replace("@CONTAINER_ID@", &id)
        .replace("@CONTAINER_READY@", &container.ready.to_string())
        .replace("@STARTED@", &container.started.to_string())
        .replace("@RESTARTS@", container.restarts)
        .replace("@STATE@", &container.state)
        .replace("@LAST@", &container.last)
        .replace("@PHASE@", phase)
}

fn stage(name: &str, tag: &str, when: When, delay: Delay, steps: &[String]) -> String {
    let when = match when {
        When::New => "{key: '.status.phase', operator: In, values: [Pending]}\n    \
                      - {key: '.status.containerStatuses[0].name', operator: DoesNotExist}"
            .to_owned(),
        When::Waiting(reason) => {
            format!("{{key: '.status.containerStatuses[0].state.waiting.reason', operator: In, values: [{reason}]}}")
        }
        When::Running => "{key: '.status.containerStatuses[0].state.running.startedAt', operator: Exists}".to_owned(),
    };
    let delay = match delay {
        Delay::After(time) => format!("durationMilliseconds: {}", time.as_millis()),
        Delay::Backoff => "durationMilliseconds: 1000\n    durationFrom: {expressionFrom: '([1.0 * pow(2; \
                           (.status.containerStatuses[0].restartCount // 0)), 8] | min | tostring) + \"s\"'}"
            .to_owned(),
    };
    format!(
        "---\n\
         apiVersion: kwok.x-k8s.io/v1alpha1\n\
         kind: Stage\n\
         metadata: {{name: {name}}}\n\
         spec:\n\
         \x20 resourceRef: {{apiGroup: v1, kind: Pod}}\n\
         \x20 selector:\n\
         \x20   matchExpressions:\n\
         \x20   - {{key: '.metadata.deletionTimestamp', operator: DoesNotExist}}\n\
         \x20   - {{key: '.spec.containers[0].image | test(\"[-:]{tag}$\")', operator: In, values: [\"true\"]}}\n\
         \x20   - {when}\n\
         \x20 delay:\n\
         \x20   {delay}\n\
         \x20 steps:\n{}",
        steps.concat()
    )
}

fn started() -> [String; 3] {
    let pulled =
        format!("printf \"Container image %q already present on machine and can be accessed by the pod\" {IMAGE}");
    [
        event("Pulled", "Normal", "pulled", &pulled),
        event("Created", "Normal", "created", "\"Container created\""),
        event("Started", "Normal", "started", "\"Container started\""),
    ]
}

const RUNNING: &str = "{running: {startedAt: {{ $now | Quote }}}}";

fn missing() -> [String; 2] {
    let not_found = format!(
        "printf \"Failed to pull image %q: rpc error: code = NotFound desc = failed to pull and unpack image %q: \
         failed to resolve reference %q: %s: not found\" {IMAGE} {IMAGE} {IMAGE} {IMAGE}"
    );
    let waiting = |reason: &str, why: &str, arguments: &str| Container {
        ready: false,
        started: false,
        restarts: "0",
        state: format!(
            "{{waiting: {{reason: {reason}, message: {{{{ printf \"{why}failed to pull and unpack image %q: failed to \
             resolve reference %q: %s: not found\" {arguments}{IMAGE} {IMAGE} {IMAGE} | Quote }}}}}}}}"
        ),
        last: "{}".to_owned(),
        id: None,
    };
    let first = [
        event("Pulling", "Normal", "pulling", &format!("printf \"Pulling image %q\" {IMAGE}")),
        event("Failed", "Warning", "failedpull", &not_found),
        event("Failed", "Warning", "failederr", "\"Error: ErrImagePull\""),
        status("Pending", &waiting("ErrImagePull", "", "")),
    ];
    let backoff = waiting("ImagePullBackOff", "Back-off pulling image %q: ErrImagePull: ", &format!("{IMAGE} "));
    let then = [
        event("BackOff", "Normal", "backoffpull", &format!("printf \"Back-off pulling image %q\" {IMAGE}")),
        event("Failed", "Warning", "failedbackoff", "\"Error: ImagePullBackOff\""),
        status("Pending", &backoff),
    ];
    [
        stage("pull-1-error", "missing", When::New, Delay::After(Duration::from_millis(300)), &first),
        stage("pull-2-backoff", "missing", When::Waiting("ErrImagePull"), Delay::After(Duration::from_secs(1)), &then),
    ]
}

/// A container that ends soon after each start.
fn ends(tag: &str, code: i32, reason: &str) -> [String; 3] {
    let running = |restarts, last: &str, id| Container {
        ready: true,
        started: true,
        restarts,
        state: RUNNING.to_owned(),
        last: last.to_owned(),
        id: Some(id),
    };
    let dead = Container {
        ready: false,
        started: false,
        restarts: "{{ $n }}",
        state: "{waiting: {reason: CrashLoopBackOff, message: {{ printf \"back-off %s restarting failed container=%s pod=%s_%s(%s)\" \
                $backoff $c.name $root.metadata.name $root.metadata.namespace $root.metadata.uid | Quote }}}}"
            .to_owned(),
        last: format!(
            "{{terminated: {{exitCode: {code}, reason: {reason}, startedAt: {{{{ $started | Quote }}}}, \
             finishedAt: {{{{ $now | Quote }}}}, containerID: {{{{ $cid | Quote }}}}}}}}"
        ),
        id: Some("$cid"),
    };
    let backoff = event(
        "BackOff",
        "Warning",
        "backoff",
        "printf \"Back-off restarting failed container %s in pod %s_%s(%s)\" $c.name .metadata.name .metadata.namespace .metadata.uid",
    );
    let start = [started().concat(), status("Running", &running("0", "{}", "$cid"))];
    let last = "{{ (index $root.status.containerStatuses 0).lastState | toJson }}";
    let restart = [started().concat(), status("Running", &running("{{ add 1 $n }}", last, "$next"))];
    [
        stage(&format!("{tag}-1-start"), tag, When::New, Delay::After(Duration::from_millis(200)), &start),
        stage(
            &format!("{tag}-2-end"),
            tag,
            When::Running,
            Delay::After(Duration::from_millis(700)),
            &[backoff, status("Running", &dead)],
        ),
        stage(&format!("{tag}-3-restart"), tag, When::Waiting("CrashLoopBackOff"), Delay::Backoff, &restart),
    ]
}

fn unready() -> String {
    let container = Container {
        ready: false,
        started: true,
        restarts: "0",
        state: RUNNING.to_owned(),
        last: "{}".to_owned(),
        id: Some("$cid"),
    };
    let probe = "\"Readiness probe failed: HTTP probe failed with statuscode: 503\"";
    let steps = [
        event("Started", "Normal", "started", "\"Container started\""),
        event("Unhealthy", "Warning", "unhealthy", probe),
        status("Running", &container),
    ];
    stage("unready", "unready", When::New, Delay::After(Duration::from_millis(200)), &steps)
}

/// All fault stages, as YAML documents.
pub(super) fn stages() -> String {
    let ends = [ends("crash", 1, "Error"), ends("oom", 137, "OOMKilled")].concat();
    [missing().concat(), ends.concat(), unready()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_placeholder_is_left() {
        let text = stages();
        for line in text.lines() {
            assert!(!line.contains("@") || line.contains("%s@sha256"), "{line}");
        }
        assert_eq!(text.matches("kind: Stage").count(), 9);
    }
}
