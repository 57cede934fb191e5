use evenkeel_bus::{Cluster, MemoryBus, MemoryOptions};
use evenkeel_model::{Clock, FixedClock};

use super::*;

const GOOD: &str = "apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: tell}
spec:
  summary: Tell people.
  priority: 5
  match: {signals: [Anything]}
  steps:
    - name: hand-over
      do: {escalate: {severity: Page}}
";

fn keeper() -> (Keeper, MemoryBus, Metrics) {
    let clock = Arc::new(FixedClock::new(chrono::DateTime::UNIX_EPOCH)) as Arc<dyn Clock>;
    let bus = MemoryBus::new(MemoryOptions::new(Cluster::new("test").unwrap(), clock));
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let health = evenkeel_runtime::Health::new().part("playbooks");
    let keeper = Keeper { bus: Arc::new(bus.clone()), in_use: InUse::default(), metrics: metrics.clone(), health };
    (keeper, bus, metrics)
}

async fn held(bus: &MemoryBus) -> Vec<String> {
    let bucket = bus.bucket(BucketName::Playbooks).await.unwrap();
    let mut names = Vec::new();
    for key in bucket.keys().await.unwrap() {
        let entry = bucket.get(&Key::new(key).unwrap()).await.unwrap().unwrap();
        let playbook: Loaded = serde_json::from_slice(&entry.value).unwrap();
        names.push(playbook.name);
    }
    names.sort();
    names
}

#[tokio::test]
async fn a_bad_file_is_named_with_its_place_and_the_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tell.yaml"), GOOD).unwrap();
    std::fs::write(dir.path().join("broken.yml"), GOOD.replace("priority: 5", "priority: high")).unwrap();
    std::fs::write(dir.path().join("notes.txt"), "not a playbook").unwrap();
    let given = Files::new(vec![dir.path().to_owned(), dir.path().join("gone.yaml")]).read().await;
    assert_eq!(given.loaded.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["tell"]);
    assert_eq!(given.problems.len(), 2, "{:?}", given.problems);
    assert!(given.problems[0].contains("broken.yml:6:"), "{}", given.problems[0]);
    assert!(given.problems[1].contains("gone.yaml"), "{}", given.problems[1]);
}

#[tokio::test]
async fn what_can_not_be_read_for_a_moment_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (there, away) = (dir.path().join("mounted"), dir.path().join("swapped"));
    std::fs::create_dir(&there).unwrap();
    std::fs::write(there.join("tell.yaml"), GOOD).unwrap();
    let mut files = Files::new(vec![there.clone()]);
    let names = |given: &Given| given.loaded.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&files.read().await), ["tell"]);
    std::fs::rename(&there, &away).unwrap();
    let given = files.read().await;
    assert_eq!((names(&given), given.problems.len()), (vec!["tell".to_owned()], 1));
    std::fs::rename(&away, &there).unwrap();
    // A directory in place of a file: it can't be read, the one beside it can.
    std::fs::create_dir(there.join("odd.yaml")).unwrap();
    std::fs::write(there.join("tell.yaml"), GOOD.replace("tell", "told")).unwrap();
    let given = files.read().await;
    assert_eq!((names(&given), given.problems.len()), (vec!["tell".to_owned()], 1));
    std::fs::remove_dir(there.join("odd.yaml")).unwrap();
    assert_eq!(names(&files.read().await), ["told"]);
    std::fs::remove_file(there.join("tell.yaml")).unwrap();
    assert!(files.read().await.loaded.is_empty(), "what is taken away is gone");
}

#[tokio::test(start_paused = true)]
async fn the_bucket_holds_what_the_source_gives_whatever_the_bus_does() {
    let (keeper, bus, metrics) = keeper();
    let in_use = keeper.in_use.clone();
    let (given, read) = watch::channel(None);
    let shutdown = Shutdown::new();
    let task = tokio::spawn(keeper.run(read, shutdown.clone()));
    let give = |texts: &[String]| {
        let loaded = texts.iter().flat_map(|text| evenkeel_playbook::load(text, "test").0).collect();
        given.send_replace(Some(Given { loaded, problems: Vec::new() }));
    };
    let wait = || tokio::time::sleep(Duration::from_secs(15));
    let second = GOOD.replace("tell", "second").replace("Anything", "Other");
    give(&[GOOD.to_owned(), second.clone()]);
    wait().await;
    assert_eq!(held(&bus).await, ["second", "tell"]);
    assert_eq!(metrics.playbooks.get(), 2);

    bus.set_away(true);
    give(std::slice::from_ref(&second));
    wait().await;
    bus.set_away(false);
    wait().await;
    assert_eq!(held(&bus).await, ["second"], "what is taken away is gone from the bucket");

    let duplicate = second.replace("second", "third");
    give(&[second, duplicate]);
    wait().await;
    assert!(metrics.playbook_problems.get() > 0, "two that match the same are named");
    let object = evenkeel_model::ObjectRef::namespaced(evenkeel_model::Kind::Pod, "a", "b");
    assert_eq!(in_use.declare(&Query::Object { object }), !held(&bus).await.is_empty());
    shutdown.cancel();
    task.await.unwrap().unwrap();
}

#[test]
fn an_object_that_does_not_fit_is_named() {
    let object = |spec: serde_json::Value| -> DynamicObject {
        serde_json::from_value(serde_json::json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Playbook",
            "metadata": {"name": "odd"}, "spec": spec}))
        .unwrap()
    };
    let problems = from_object(object(serde_json::json!({"summary": 5}))).unwrap_err();
    assert!(problems[0].starts_with("playbook/odd: "), "{problems:?}");
    let spec: serde_json::Value = serde_json::to_value(&evenkeel_playbook::parse(GOOD, "t").unwrap()[0].spec).unwrap();
    assert_eq!(from_object(object(spec)).unwrap().name, "odd");
}
