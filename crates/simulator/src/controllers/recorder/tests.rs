use serde_json::json;

use super::{Cluster, Note};
use crate::testing::Stage;

#[tokio::test(start_paused = true)]
async fn what_happens_again_is_counted_and_what_is_alike_is_combined() {
    let stage = Stage::new(1, &[]);
    let about = stage
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}));
    let tell = |reason: &str, message: &str| {
        let mut state = stage.simulator.state();
        Cluster::new(&mut state, "test").tell(
            &about,
            Note { component: "test", ..Note::default() },
            "Warning",
            reason,
            message,
        );
    };
    for _ in 0..3 {
        tell("Same", "once more");
        stage.pass(1).await;
    }
    assert_eq!(stage.events("a"), ["Warning Same: once more ×3"]);
    for number in 0..15 {
        tell("Alike", &format!("number {number}"));
        stage.pass(1).await;
    }
    let events = stage.events("a");
    assert_eq!(events.len(), 11, "{events:?}");
    assert_eq!(events.last().unwrap(), "Warning Alike: (combined from similar events): number 14 ×6");
    // Twenty-five of a type, then one in five minutes.
    for _ in 0..30 {
        tell("Same", "once more");
    }
    assert!(stage.events("a").contains(&"Warning Same: once more ×10".to_owned()), "{:?}", stage.events("a"));
    stage.pass(2 * 3600).await;
    assert!(stage.events("a").is_empty(), "an hour later nobody remembers");
}
