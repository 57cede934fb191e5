//! What the actions' tests share: snapshots read from fixtures, and plans made of them.

use evenkeel_cluster::testing::FakeApi;
use evenkeel_cluster::{NoRecords, Stamp, snapshot};
use evenkeel_model::{Kind, ObjectRef, Plan, Snapshot};

use super::{Acting, Context, Indication, PlanError};
use crate::testing::proposal;

/// When the fixture was taken, and a little.
pub(super) fn now() -> chrono::DateTime<chrono::Utc> {
    "2026-11-21T04:00:00Z".parse().unwrap()
}

pub(super) async fn read(api: &FakeApi, kind: Kind, name: &str) -> Snapshot {
    let namespace = kind.is_namespaced().then(|| "shop".to_owned());
    let target = ObjectRef { kind, namespace, name: name.to_owned(), uid: None };
    snapshot(&api.client(), &target, &NoRecords, now()).await.unwrap()
}

pub(super) async fn plan(api: &FakeApi, acting: &dyn Acting, snapshot: &Snapshot) -> Result<Plan, PlanError> {
    let (client, proposal, stamp) = (api.client(), proposal(1), Stamp::new("r-1", 7));
    acting.plan(Context { client: &client, proposal: &proposal, snapshot, stamp: &stamp, now: now() }).await
}

pub(super) fn is_indicated(acting: &dyn Acting, snapshot: &Snapshot) -> bool {
    matches!(acting.indication(snapshot), Indication::Indicated(_))
}

/// Why it is not.
pub(super) fn refusal(acting: &dyn Acting, snapshot: &Snapshot) -> String {
    match acting.indication(snapshot) {
        Indication::Indicated(reason) => panic!("indicated: {reason}"),
        Indication::NotIndicated(reason) => reason,
    }
}
