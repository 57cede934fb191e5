use evenkeel_model::ObjectRef;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

use super::Evidence;
use crate::world::{self, State};

/// The most lines read.
const MAX_LINES: u32 = 200;
/// Lines are cut at so many bytes.
const MAX_LINE_BYTES: usize = 512;

impl Evidence {
    /// The last lines of the worst pod's worst container: of the run that crashed, where it has.
    pub(super) async fn logs(&self, object: &ObjectRef, lines: u32) -> Result<Vec<String>, String> {
        let Some((namespace, name)) = self.pods_of(object, 1).into_iter().next() else {
            return Err(format!("{object} has no pods that are known"));
        };
        let (container, crashed) = {
            let world = world::read(&self.sight.world);
            let pod = world.pods.get(&namespace, &name);
            let pod = pod.ok_or_else(|| format!("pod/{namespace}/{name} is not known"))?;
            let waits = |state: &State| !matches!(state, State::Running { .. });
            let worst = pod.containers.iter().max_by_key(|it| (waits(&it.state), it.restarts));
            let worst = worst.ok_or_else(|| format!("pod/{namespace}/{name} has not begun to run"))?;
            (worst.name.to_string(), waits(&worst.state) && worst.last.is_some())
        };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = LogParams {
            container: Some(container),
            previous: crashed,
            tail_lines: Some(i64::from(lines.clamp(1, MAX_LINES))),
            limit_bytes: i64::try_from(self.config.max_log_bytes).ok(),
            ..LogParams::default()
        };
        let text = api.logs(&name, &parameters).await;
        let text = text.map_err(|error| format!("the log of pod/{namespace}/{name} could not be read: {error}"))?;
        // Redacted as a whole: a key spans lines.
        let text = evenkeel_runtime::redact::text(&text);
        Ok(text.lines().map(|line| crate::alert::bounded(line, MAX_LINE_BYTES).into_owned()).collect())
    }
}
