use serde_json::json;

use crate::api::{By, Deletion};
use crate::store::Key;
use crate::testing::Stage;
use crate::value::text;

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_after_its_content() {
    let stage = Stage::new(1, &[("app:1", json!({"stop": "5s"}))]);
    stage.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    stage.pass(1).await;
    let in_shop = |resource: &str| {
        let state = stage.simulator.state();
        state.store.within(&resource.into(), "shop").count()
    };
    assert_eq!((in_shop("serviceaccounts"), in_shop("configmaps")), (1, 1));
    stage.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]}}));
    stage.pass(5).await;
    let by = By { user: "ana", manager: "kubectl", dry_run: false };
    stage.simulator.state().delete(by, &Key::new("namespaces", "", "shop"), &Deletion::default()).unwrap();
    stage.simulator.wake();
    stage.pass(2).await;
    let shop = stage.get("namespaces", "shop");
    assert_eq!(text(&shop, "/status/phase"), "Terminating");
    assert_eq!(
        text(&shop, "/status/conditions/0/message"),
        "Some resources are remaining: pods. has 1 resource instances"
    );
    stage.pass(10).await;
    assert!(stage.find("namespaces", "shop").is_none());
    assert_eq!(in_shop("configmaps") + in_shop("serviceaccounts") + in_shop("pods"), 0);
}
