use evenkeel_cluster::testing::SHOP;
use evenkeel_model::FixedClock;
use evenkeel_runtime::Health;

use super::*;
use crate::policies::Policies;
use crate::testing::at;
use crate::testing::world::{Fault, World};

struct Bench {
    world: World,
    enforcement: Enforcement,
    policies: Policies,
    protected: Protected,
}

fn policy(name: &str, namespaces: &[&str], actions: &[&str]) -> Value {
    let rates = json!({"target": "1/1h", "namespace": "9/1h", "cluster": "9/1h"});
    let rule = |action: &&str| json!({"do": action, "tier": "Low", "origins": ["Playbook"], "rate": rates});
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ActionPolicy", "metadata": {"name": name, "generation": 1},
        "spec": {
            "mode": "Enforce",
            "match": {"namespaces": namespaces, "kinds": ["Deployment", "Pod"], "selector": {}},
            "actions": actions.iter().map(rule).collect::<Vec<_>>(),
            "windows": evenkeel_model::Windows::always(),
            "limits": {"concurrent": 3, "unavailable": {"count": 1, "percent": 10}},
            "gitOps": "UnownedFields",
        },
    })
}

impl Bench {
    fn new(policies: &[Value]) -> Self {
        let world = World::new(SHOP, Arc::new(FixedClock::new(at(0))));
        policies.iter().for_each(|it| world.put(it.clone()));
        let timeout = Duration::from_secs(10);
        Self {
            enforcement: Enforcement::new(world.client(), world.client(), "evenkeel", timeout),
            policies: Policies::new(world.client(), timeout, Health::new().part("policies")),
            protected: Protected::default(),
            world,
        }
    }

    /// Installs what `evenkeel policy admission` prints, with the fields that the API server adds.
    async fn install(&self, how: Admission) {
        let policies = self.policies.list().await.unwrap();
        let [mut policy, binding] = generate::admission(&policies, "evenkeel", &self.protected, how);
        policy["spec"]["matchConstraints"]["namespaceSelector"] = json!({});
        policy["spec"]["matchConstraints"]["objectSelector"] = json!({});
        self.world.put(policy);
        self.world.put(binding);
    }

    async fn look(&self, seconds: i64) -> usize {
        let objects = self.policies.objects().await.unwrap();
        let policies: Vec<PolicySource> = objects.iter().map(source).collect();
        let findings = self.enforcement.find(&policies, &self.protected).await.unwrap();
        let mut told = 0;
        for (object, finding) in objects.iter().zip(&findings) {
            told += usize::from(self.enforcement.tell(object, finding, at(seconds)).await.unwrap());
        }
        told
    }

    /// The condition, as `True AsGenerated: …`.
    fn said(&self, name: &str) -> String {
        let policy = self.world.get(&format!("/actionpolicies/{name}")).unwrap();
        let conditions = policy["status"]["conditions"].as_array().unwrap();
        let condition = conditions.iter().find(|it| it["type"] == "Enforceable").unwrap();
        let text = |field: &str| condition[field].as_str().unwrap();
        format!("{} {}: {}", text("status"), text("reason"), text("message"))
    }
}

#[tokio::test]
async fn what_is_installed_as_generated_is_enforceable_and_said_once() {
    let bench = Bench::new(&[policy("shop", &["shop"], &["rollbackWorkload", "evictPod"])]);
    bench.install(Admission::Deny).await;
    assert_eq!(bench.look(0).await, 1);
    assert!(bench.said("shop").starts_with("True AsGenerated: RBAC lets"), "{}", bench.said("shop"));
    bench.world.written();
    assert_eq!(bench.look(60).await, 0, "no news");
    let written = bench.world.written();
    assert!(written.iter().all(|line| line == "POST selfsubjectaccessreviews"), "{written:?}");
    assert_eq!(written.len(), 2, "one question a right");
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_on_the_policies_that_need_it_until_it_is_there() {
    let both =
        [policy("shop", &["shop"], &["rollbackWorkload", "evictPod"]), policy("bank", &["bank"], &["deletePod"])];
    let bench = Bench::new(&both);
    bench.install(Admission::Deny).await;
    bench.look(0).await;
    bench.world.take_right(Some("create pods/eviction shop"));
    assert_eq!(bench.look(60).await, 1);
    assert_eq!(
        bench.said("shop"),
        "False RuleMissing: RBAC lacks create pods/eviction in namespace shop; `evenkeel policy rbac` prints what has to be"
    );
    assert!(bench.said("bank").starts_with("True"), "{}", bench.said("bank"));
    let since = |bench: &Bench| {
        let policy = bench.world.get("/actionpolicies/shop").unwrap();
        policy["status"]["conditions"][0]["lastTransitionTime"].clone()
    };
    assert_eq!(since(&bench), json!(at(60)));
    // Another reason is news, and the same status.
    bench.world.remove("/validatingadmissionpolicies/evenkeel-gateway");
    assert_eq!(bench.look(120).await, 2);
    assert!(bench.said("shop").contains("Besides, ValidatingAdmissionPolicy evenkeel-gateway is not installed"));
    assert!(bench.said("bank").starts_with("False AdmissionMissing"), "{}", bench.said("bank"));
    assert_eq!(since(&bench), json!(at(60)));
    bench.world.take_right(None);
    bench.install(Admission::Deny).await;
    assert_eq!(bench.look(180).await, 2);
    assert!(bench.said("shop").starts_with("True"), "{}", bench.said("shop"));
}

#[tokio::test]
async fn admission_that_is_not_made_of_the_policies_as_they_are_is_told_by_what_differs() {
    let bench = Bench::new(&[policy("shop", &["shop"], &["rollbackWorkload"])]);
    bench.install(Admission::Audit).await;
    bench.look(0).await;
    let only_tried_out = "ValidatingAdmissionPolicyBinding evenkeel-gateway: spec.validationActions";
    assert!(bench.said("shop").starts_with("False AdmissionDiffers") && bench.said("shop").contains(only_tried_out));
    bench.install(Admission::Deny).await;
    bench.world.edit("/actionpolicies/shop", |it| {
        it["spec"]["actions"][0]["do"] = json!("restartWorkload");
        it["metadata"]["generation"] = json!(2);
    });
    bench.look(60).await;
    assert!(
        bench.said("shop").contains("spec.validations[2].expression (\"evenkeel: no ActionPolicy"),
        "{}",
        bench.said("shop")
    );
    assert_eq!(bench.world.get("/actionpolicies/shop").unwrap()["status"]["conditions"][0]["observedGeneration"], 2);
}

#[tokio::test]
async fn when_the_api_server_has_no_answer_what_was_said_stays() {
    let bench = Bench::new(&[policy("shop", &["shop"], &["rollbackWorkload"])]);
    bench.install(Admission::Deny).await;
    bench.look(0).await;
    bench.world.fault("POST selfsubjectaccessreviews", Fault::Answer(500));
    let policies = bench.policies.list().await.unwrap();
    assert!(bench.enforcement.find(&policies, &bench.protected).await.is_err());
    // That it may not ask is an answer.
    bench.world.fault("POST selfsubjectaccessreviews", Fault::Answer(403));
    bench.look(60).await;
    assert!(bench.said("shop").starts_with("Unknown NotFoundOut: it is not known whether RBAC has patch"));
}

#[tokio::test]
async fn a_policy_that_can_not_be_read_can_not_be_enforced_and_others_conditions_stay() {
    let mut broken = policy("broken", &["shop"], &["rollbackWorkload"]);
    broken["spec"]["mode"] = json!("Whatever");
    broken["status"] = json!({"conditions": [{
        "type": "Reviewed", "status": "True", "reason": "ByJane", "message": "", "lastTransitionTime": "2026-01-05T08:00:00Z",
    }]});
    let bench = Bench::new(&[broken]);
    bench.look(0).await;
    assert!(bench.said("broken").starts_with("False Unreadable: can't be read"), "{}", bench.said("broken"));
    let conditions = bench.world.get("/actionpolicies/broken").unwrap()["status"]["conditions"].clone();
    assert_eq!((&conditions[0]["type"], conditions.as_array().unwrap().len()), (&json!("Reviewed"), 2));
}

#[tokio::test]
async fn policies_that_change_are_looked_at_at_once() {
    let bench = Bench::new(&[policy("shop", &["shop"], &["rollbackWorkload"])]);
    let is_news = async || tokio::time::timeout(Duration::from_millis(1), bench.policies.changed()).await.is_ok();
    bench.policies.list().await.unwrap();
    assert!(is_news().await, "the first time");
    bench.policies.list().await.unwrap();
    assert!(!is_news().await);
    bench.world.edit("/actionpolicies/shop", |it| it["metadata"]["generation"] = json!(2));
    bench.policies.list().await.unwrap();
    assert!(is_news().await);
}
