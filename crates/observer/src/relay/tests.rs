use evenkeel_bus::{Cluster, MemoryBus, MemoryOptions, Stream};
use evenkeel_model::{FixedClock, Signal, SignalState};
use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use super::*;
use crate::config::Kubernetes;
use crate::world::SharedWorld;
use crate::world::fixture::{at, object, pod, time};

struct Fixture {
    memory: MemoryBus,
    clock: Arc<FixedClock>,
}

fn fixture() -> Fixture {
    let clock = Arc::new(FixedClock::new(at(100)));
    let options = MemoryOptions::new(Cluster::new("test").unwrap(), Arc::clone(&clock) as Arc<dyn Clock>);
    Fixture { memory: MemoryBus::new(options), clock }
}

impl Fixture {
    /// An observer's process: its relay runs until shutdown.
    fn process(&self) -> (Arc<Sight>, Shutdown, tokio::task::JoinHandle<()>) {
        let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
        let watches = ["watch pods"];
        let config = Kubernetes::default();
        let sight = Arc::new(Sight::new("test".to_owned(), config, SharedWorld::default(), watches, metrics.clone()));
        let bus: Arc<dyn Bus> = Arc::new(self.memory.clone());
        let publisher = Publisher::new(Arc::clone(&bus), metrics.clone(), Duration::from_secs(5), []);
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let relay = Relay::new(Arc::clone(&sight), publisher, bus, clock, metrics);
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let task = tokio::spawn(async move {
            if let Some(bucket) = relay.restore(&stop).await {
                relay.run(&bucket, &stop).await;
            }
        });
        (sight, shutdown, task)
    }

    async fn signals(&self) -> Vec<(String, SignalState)> {
        let stored: Vec<_> = self.memory.replay(Stream::Signals, None).await.unwrap().collect().await;
        let signal = |payload: &[u8]| serde_json::from_slice::<Signal>(payload).unwrap();
        stored
            .into_iter()
            .map(|it| signal(&it.unwrap().payload))
            .map(|it| (it.target.unwrap().name, it.state))
            .collect()
    }

    fn list(&self, sight: &Sight, pods: &[Value]) {
        sight.begin::<core::Pod>();
        pods.iter().for_each(|pod| sight.apply(object::<core::Pod>(pod), self.clock.now()));
        sight.listed::<core::Pod>("watch pods", self.clock.now());
    }
}

fn unpullable(name: &str) -> Value {
    let mut pod = pod(name, None);
    pod["status"]["conditions"][1] = json!({"type": "Ready", "status": "False", "lastTransitionTime": time(10)});
    pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "ErrImagePull", "message": "404"}});
    pod
}

async fn wait() {
    tokio::time::sleep(Duration::from_secs(20)).await;
}

use SignalState::{Firing, Resolved};

#[tokio::test(start_paused = true)]
async fn news_is_on_the_bus_within_moments() {
    let fixture = fixture();
    let (sight, shutdown, task) = fixture.process();
    tokio::time::sleep(Duration::from_millis(1)).await;
    fixture.list(&sight, &[]);
    sight.apply(object::<core::Pod>(&unpullable("a")), at(100));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(fixture.signals().await, [("a".to_owned(), Firing)]);
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_the_bus_away_nothing_is_lost_and_only_the_latest_is_told() {
    let fixture = fixture();
    let (sight, shutdown, task) = fixture.process();
    wait().await;
    fixture.list(&sight, &[unpullable("a")]);
    wait().await;
    fixture.memory.set_away(true);
    for name in ["b", "c"] {
        sight.apply(object::<core::Pod>(&unpullable(name)), at(100));
    }
    sight.delete(&object::<core::Pod>(&unpullable("a")), at(101));
    wait().await;
    sight.delete(&object::<core::Pod>(&unpullable("c")), at(102));
    wait().await;
    fixture.memory.set_away(false);
    wait().await;
    let mut signals = fixture.signals().await;
    signals.sort_by_key(|(name, state)| (name.clone(), *state));
    let expected = [("a", Firing), ("a", Resolved), ("b", Firing)];
    assert_eq!(signals, expected.map(|(name, state)| (name.to_owned(), state)), "c came and went meanwhile");
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_process_goes_on_where_the_last_ended() {
    let fixture = fixture();
    let (sight, shutdown, task) = fixture.process();
    wait().await;
    fixture.list(&sight, &[unpullable("a"), unpullable("b")]);
    wait().await;
    shutdown.cancel();
    task.await.unwrap();
    fixture.clock.advance(Duration::from_secs(3600));

    let (sight, shutdown, task) = fixture.process();
    wait().await;
    fixture.list(&sight, &[unpullable("b")]);
    wait().await;
    let mut signals = fixture.signals().await;
    signals.sort_by_key(|(name, state)| (name.clone(), *state));
    let expected = [("a", Firing), ("a", Resolved), ("b", Firing)];
    assert_eq!(signals, expected.map(|(name, state)| (name.to_owned(), state)), "b is no news, a's end is");
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_told_by_a_process_that_died_at_once_is_told_to_have_ended() {
    let fixture = fixture();
    let (sight, _shutdown, task) = fixture.process();
    wait().await;
    fixture.list(&sight, &[]);
    // The bus takes it, and the process dies before it hears so.
    fixture.memory.set_trouble(evenkeel_bus::Trouble { lose_answer: 100, ..evenkeel_bus::Trouble::none() });
    sight.apply(object::<core::Pod>(&unpullable("a")), at(100));
    tokio::time::sleep(Duration::from_millis(10)).await;
    task.abort();
    fixture.memory.set_trouble(evenkeel_bus::Trouble::none());
    assert_eq!(fixture.signals().await, [("a".to_owned(), Firing)]);

    let (sight, shutdown, task) = fixture.process();
    wait().await;
    fixture.list(&sight, &[]);
    wait().await;
    assert_eq!(fixture.signals().await, [("a".to_owned(), Firing), ("a".to_owned(), Resolved)]);
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_the_bus_away_at_the_start_the_process_waits_for_it() {
    let fixture = fixture();
    fixture.memory.set_away(true);
    let (sight, shutdown, task) = fixture.process();
    fixture.list(&sight, &[unpullable("a")]);
    wait().await;
    fixture.memory.set_away(false);
    wait().await;
    assert_eq!(fixture.signals().await, [("a".to_owned(), Firing)]);
    shutdown.cancel();
    task.await.unwrap();
}
