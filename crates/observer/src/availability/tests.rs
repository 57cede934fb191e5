use evenkeel_bus::{Cluster, MemoryBus, MemoryOptions};
use evenkeel_cluster::testing::{FakeApi, SHOP};
use evenkeel_model::FixedClock;
use k8s_openapi::api::apps::v1 as apps;
use serde_json::{Value, json};

use super::*;
use crate::config::Kubernetes;
use crate::world::SharedWorld;
use crate::world::fixture::{at, deployment, object, put, replica_set};

#[test]
fn a_revision_counts_once_it_has_all_replicas_and_they_are_available() {
    let mut world = World::default();
    put::<apps::Deployment>(&mut world, &deployment("cart", 3, 3));
    let with = |world: &mut World, replicas, available| {
        put::<apps::ReplicaSet>(world, &replica_set("cart", "cart-1", replicas, available));
        settled(world).len()
    };
    assert_eq!(with(&mut world, 1, 1), 0, "in the middle of a rollout");
    assert_eq!(with(&mut world, 3, 2), 0);
    assert_eq!(with(&mut world, 0, 0), 0);
    assert_eq!(with(&mut world, 3, 3), 1);
}

struct Fixture {
    sight: Arc<Sight>,
    bus: MemoryBus,
    clock: Arc<FixedClock>,
    records: Records,
    shutdown: Shutdown,
}

fn fixture() -> Fixture {
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let config = Kubernetes::default();
    let sight = Arc::new(Sight::new("test".to_owned(), config, SharedWorld::default(), [], metrics));
    let clock = Arc::new(FixedClock::new(at(0)));
    let options = MemoryOptions::new(Cluster::new("test").unwrap(), Arc::clone(&clock) as Arc<dyn Clock>);
    Fixture { sight, bus: MemoryBus::new(options), clock, records: Records::default(), shutdown: Shutdown::new() }
}

impl Fixture {
    fn start(&self, records: &Records) {
        let keeper = Keeper {
            records: records.clone(),
            sight: Arc::clone(&self.sight),
            client: FakeApi::new(SHOP).client(),
            bus: Arc::new(self.bus.clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            hold: chrono::Duration::seconds(10),
            metrics: Metrics::register(&mut prometheus_client::registry::Registry::default()),
        };
        tokio::spawn(keeper.run(self.shutdown.clone()));
    }

    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_held_is_recorded_and_known_to_the_next_process() {
    let fixture = fixture();
    fixture.start(&fixture.records);
    fixture.sight.apply(object::<apps::Deployment>(&deployment("cart", 2, 2)), at(0));
    fixture.sight.apply(object::<apps::ReplicaSet>(&replica_set("cart", "cart-1", 2, 2)), at(0));
    fixture.pass(5).await;
    assert!(!fixture.records.was_available("uid-cart-1").await, "not long enough");
    fixture.sight.apply(object::<apps::ReplicaSet>(&replica_set("cart", "cart-1", 2, 1)), at(5));
    fixture.pass(5).await;
    fixture.sight.apply(object::<apps::ReplicaSet>(&replica_set("cart", "cart-1", 2, 2)), at(10));
    fixture.pass(8).await;
    assert!(!fixture.records.was_available("uid-cart-1").await, "it began anew");
    fixture.pass(8).await;
    assert!(fixture.records.was_available("uid-cart-1").await);
    let next = Records::default();
    fixture.start(&next);
    fixture.pass(1).await;
    assert!(next.was_available("uid-cart-1").await);
    fixture.sight.delete(&object::<apps::ReplicaSet>(&replica_set("cart", "cart-1", 2, 2)), at(30));
    fixture.pass(u64::from(PRUNE_EVERY) * 2 + 10).await;
    assert!(!next.was_available("uid-cart-1").await, "records of what is gone are removed");
    fixture.shutdown.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_statefulsets_newest_controllerrevision_is_recorded() {
    let fixture = fixture();
    fixture.start(&fixture.records);
    let list: Value = serde_json::from_str(SHOP).unwrap();
    let items = list["items"].as_array().unwrap();
    let mut set = items.iter().find(|it| it["kind"] == "StatefulSet").unwrap().clone();
    let newest = items
        .iter()
        .filter(|it| it["kind"] == "ControllerRevision" && it["metadata"]["ownerReferences"][0]["name"] == "db")
        .max_by_key(|it| it["revision"].as_i64().unwrap())
        .unwrap();
    let replicas = set["spec"]["replicas"].clone();
    for field in ["replicas", "updatedReplicas", "availableReplicas", "readyReplicas"] {
        set["status"][field] = replicas.clone();
    }
    set["status"]["observedGeneration"] = set["metadata"]["generation"].clone();
    fixture.sight.apply(object::<apps::StatefulSet>(&set), at(0));
    fixture.pass(20).await;
    assert!(
        fixture.records.was_available(newest["metadata"]["uid"].as_str().unwrap()).await,
        "{}",
        json!(set["status"])
    );
    fixture.shutdown.cancel();
}
