//! What the target belongs to decides what is held, and narrows what may be done.

use super::*;

const POD: &str = "cart-69f6589c46-hvsh5";

fn delete_pod() -> Proposal {
    let pod = ObjectRef::namespaced(Kind::Pod, "shop", POD);
    Proposal { target: pod, action: Action::DeletePod(Empty {}), ..cart(1) }
}

async fn on_a_lost_node(proposal: Proposal) -> Bench {
    let bench = Bench::with(proposal, Mode::Enforce, |_| {}).await;
    bench.world.edit("/nodes/kwok-node-0", |node| {
        for condition in node["status"]["conditions"].as_array_mut().unwrap() {
            if condition["type"] == "Ready" {
                condition["status"] = json!("Unknown");
            }
        }
    });
    bench
}

fn deletes(bench: &Bench) -> usize {
    bench.world.written().iter().filter(|line| line.starts_with("DELETE pods") && !line.ends_with("dry")).count()
}

fn annotate(bench: &Bench, path: &str, mode: &str) {
    bench.world.edit(path, |object| object["metadata"]["annotations"]["evenkeel.dev/mode"] = json!(mode));
}

#[tokio::test]
async fn the_mode_of_an_owner_narrows_what_is_done_to_its_pods() {
    for owner in ["/replicasets/cart-69f6589c46", CART] {
        for (mode, phase) in [("off", Phase::Denied), ("audit", Phase::WouldExecute), ("mute", Phase::Denied)] {
            let bench = on_a_lost_node(delete_pod()).await;
            annotate(&bench, owner, mode);
            bench.run(10).await;
            assert_eq!(bench.phase(), phase, "{owner} {mode}: {}", bench.reason());
            assert_eq!(deletes(&bench), 0);
        }
    }
}

#[tokio::test]
async fn the_mode_of_the_node_narrows_what_is_done_for_its_sake() {
    let node = ObjectRef::cluster_scoped(Kind::Node, "kwok-node-0");
    let for_node = || Proposal { root: node.clone(), ..delete_pod() };
    let bench = on_a_lost_node(for_node()).await;
    bench.advance().await;
    assert_eq!((bench.phase(), deletes(&bench)), (Phase::Verifying, 1), "{}", bench.reason());
    let bench = on_a_lost_node(for_node()).await;
    annotate(&bench, "/nodes/kwok-node-0", "off");
    bench.run(10).await;
    assert_eq!((bench.phase(), deletes(&bench)), (Phase::Denied, 0), "{}", bench.reason());
}

#[tokio::test]
async fn a_proposal_does_not_choose_its_root() {
    let pod = ObjectRef::namespaced(Kind::Pod, "shop", POD);
    let replica_set = ObjectRef::namespaced(Kind::ReplicaSet, "shop", "cart-69f6589c46");
    let other_node = ObjectRef::cluster_scoped(Kind::Node, "kwok-node-1");
    for root in [pod, replica_set, other_node] {
        let bench = on_a_lost_node(Proposal { root: root.clone(), ..delete_pod() }).await;
        bench.run(10).await;
        assert_eq!(bench.phase(), Phase::Denied, "{root}: {}", bench.reason());
        assert_eq!(deletes(&bench), 0);
    }
}
