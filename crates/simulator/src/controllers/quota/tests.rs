use serde_json::json;

use crate::testing::Stage;

#[tokio::test(start_paused = true)]
async fn a_quota_counts_what_its_namespace_uses() {
    let stage = Stage::new(1, &[("job:1", json!({"crash": {"after": "5s", "exitCode": 0}}))]);
    stage
        .create(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default"},
        "spec": {"hard": {"pods": "10", "requests.cpu": "2", "limits.memory": "1Gi", "count/configmaps": "9"}}}));
    let resources = json!({"requests": {"cpu": "250m"}, "limits": {"memory": "32Mi"}});
    stage.run("a", "app:1", json!({"resources": resources}));
    stage.run("b", "job:1", json!({"resources": resources, "restartPolicy": "Never"}));
    stage.pass(2).await;
    let used = stage.get("resourcequotas", "q")["status"]["used"].clone();
    assert_eq!(used, json!({"pods": "2", "requests.cpu": "500m", "limits.memory": "64Mi", "count/configmaps": "1"}));
    stage.pass(30).await;
    let used = stage.get("resourcequotas", "q")["status"]["used"].clone();
    assert_eq!(used, json!({"pods": "1", "requests.cpu": "250m", "limits.memory": "32Mi", "count/configmaps": "1"}));
}
