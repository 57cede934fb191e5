use chrono::{DateTime, Utc};
use evenkeel_model::{ChangeKind, ObjectRef, ObservedChange, Snapshot};

use super::Evidence;
use crate::world;

/// Two tellings of one change are at most so far apart.
const NEAR: chrono::Duration = chrono::Duration::seconds(10);

impl Evidence {
    /// What was changed on the object, its root and the node it is on: what the API tells from
    /// creation times and managedFields, and what was seen while this process ran. Newest first.
    pub(super) async fn changes(
        &self,
        object: &ObjectRef,
        since: DateTime<Utc>,
    ) -> Result<Vec<ObservedChange>, String> {
        let mut near = vec![object.clone()];
        {
            let world = world::read(&self.sight.world);
            near.extend(world.root(object).filter(|root| !root.is_same(object)));
            near.extend(world.node_of(object).map(|node| ObjectRef::cluster_scoped(evenkeel_model::Kind::Node, node)));
        }
        let snapshot = evenkeel_cluster::snapshot(&self.client, object, &self.records, self.clock.now()).await;
        let snapshot = snapshot.map_err(|error| error.to_string())?;
        let seen = self.sight.changes.of(&near, since);
        let mut all = merge(seen, told(&snapshot, since));
        all.truncate(self.config.max_rows);
        Ok(all)
    }
}

/// Changes that a snapshot tells of.
fn told(snapshot: &Snapshot, since: DateTime<Utc>) -> Vec<ObservedChange> {
    let Some(meta) = &snapshot.meta else { return Vec::new() };
    let change = |what, at, by: Option<&str>, summary: String| ObservedChange {
        object: snapshot.target.clone(),
        what,
        at,
        by: by.map(str::to_owned),
        summary: crate::alert::bounded(&evenkeel_runtime::redact::text(&summary), 512).into_owned(),
    };
    let mut told = Vec::new();
    if meta.created_at >= since {
        told.push(change(ChangeKind::Created, meta.created_at, None, "created".to_owned()));
    }
    // Newest first: each with the one before it. The first revision came with the object.
    for pair in snapshot.revisions.windows(2) {
        let [new, old] = pair else { continue };
        if new.created_at < since {
            continue;
        }
        let by = snapshot.meta.as_ref().and_then(|meta| {
            let near =
                |writer: &&evenkeel_model::Writer| writer.at.is_some_and(|at| (at - new.created_at).abs() <= NEAR);
            meta.writers.iter().filter(|writer| writer.pod_template).find(near)
        });
        let what = if new.images == old.images {
            format!("pod template changed (revision {}), images did not", new.number)
        } else {
            format!("image {} → {} (revision {})", old.images.join(", "), new.images.join(", "), new.number)
        };
        told.push(change(ChangeKind::PodTemplate, new.created_at, by.map(|by| by.manager.as_str()), what));
    }
    for writer in &meta.writers {
        let Some(at) = writer.at.filter(|at| *at >= since && (*at - meta.created_at).abs() > NEAR) else { continue };
        // When a manager wrote is known; what it changed is where it has but the replicas to write.
        if !told.iter().any(|change| (change.at - at).abs() <= NEAR) {
            let scaled = writer.replicas && !writer.pod_template;
            let (what, did) =
                if scaled { (ChangeKind::Scale, "set its replicas") } else { (ChangeKind::Spec, "wrote its spec") };
            told.push(change(what, at, Some(&writer.manager), format!("{} {did}", writer.manager)));
        }
    }
    told
}

/// What was seen, then what is told and was not seen; newest first.
fn merge(seen: Vec<ObservedChange>, told: Vec<ObservedChange>) -> Vec<ObservedChange> {
    let mut all = seen;
    for change in told {
        let same = |seen: &ObservedChange| {
            seen.object.is_same(&change.object)
                && (seen.at - change.at).abs() <= NEAR
                && (seen.what == change.what || matches!(change.what, ChangeKind::Spec | ChangeKind::Scale))
        };
        if !all.iter().any(same) {
            all.push(change);
        }
    }
    all.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.what.cmp(&b.what)));
    all
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{Kind, Meta, Revision, Writer};

    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::Duration::days(20_000) + chrono::Duration::minutes(minute)
    }

    fn revision(number: i64, minute: i64, image: &str) -> Revision {
        Revision {
            number,
            name: format!("cart-{number}"),
            uid: format!("rs-{number}"),
            template_hash: format!("h{number}"),
            created_at: at(minute),
            available: 0,
            was_available: false,
            images: vec![image.to_owned()],
        }
    }

    fn snapshot() -> Snapshot {
        let writer = |manager: &str, minute| Writer {
            manager: manager.to_owned(),
            at: Some(at(minute)),
            pod_template: true,
            replicas: false,
        };
        Snapshot {
            target: ObjectRef::namespaced(Kind::Deployment, "shop", "cart").with_uid("1"),
            taken_at: at(60),
            meta: Some(Meta {
                uid: "1".to_owned(),
                resource_version: "5".to_owned(),
                created_at: at(0),
                deleted_at: None,
                mode: None,
                stamp: None,
                git_ops: None,
                controller: None,
                writers: vec![writer("kubectl-set", 30), writer("helm", 45), writer("kubectl-create", 0)],
            }),
            workload: None,
            pod: None,
            node: None,
            job: None,
            pods: Vec::new(),
            revisions: vec![revision(2, 30, "cart:2"), revision(1, 0, "cart:1")],
            scaled_by: None,
            owner: None,
            suppressed: None,
        }
    }

    fn lines(changes: &[ObservedChange]) -> Vec<String> {
        let line =
            |it: &ObservedChange| format!("{:?} {} by {:?}", it.what, it.summary, it.by.as_deref().unwrap_or("?"));
        changes.iter().map(line).collect()
    }

    #[test]
    fn revisions_and_writers_tell_what_was_changed() {
        assert_eq!(
            lines(&merge(Vec::new(), told(&snapshot(), at(-1)))),
            [
                "Spec helm wrote its spec by \"helm\"",
                "PodTemplate image cart:1 → cart:2 (revision 2) by \"kubectl-set\"",
                "Created created by \"?\"",
            ]
        );
        assert_eq!(lines(&told(&snapshot(), at(40))), ["Spec helm wrote its spec by \"helm\""]);
    }

    #[test]
    fn who_writes_the_replicas_alone_has_scaled() {
        let mut snapshot = snapshot();
        let meta = snapshot.meta.as_mut().unwrap();
        let scaler =
            Writer { manager: "kubectl-scale".to_owned(), at: Some(at(50)), pod_template: false, replicas: true };
        meta.writers = vec![scaler];
        let told = |seen| lines(&merge(seen, told(&snapshot, at(40))));
        assert_eq!(told(Vec::new()), ["Scale kubectl-scale set its replicas by \"kubectl-scale\""]);
        // It wrote, and something else: what was seen is right.
        let seen = ObservedChange {
            object: snapshot.target.clone(),
            what: ChangeKind::Spec,
            at: at(50),
            by: Some("kubectl-scale".to_owned()),
            summary: "another part of its spec changed".to_owned(),
        };
        assert_eq!(told(vec![seen]), ["Spec another part of its spec changed by \"kubectl-scale\""]);
    }

    #[test]
    fn what_was_seen_is_not_told_again() {
        let seen = ObservedChange {
            object: snapshot().target,
            what: ChangeKind::PodTemplate,
            at: at(30) + chrono::Duration::seconds(1),
            by: Some("kubectl-set".to_owned()),
            summary: "image cart:1 → cart:2".to_owned(),
        };
        let all = merge(vec![seen], told(&snapshot(), at(20)));
        assert_eq!(
            lines(&all),
            ["Spec helm wrote its spec by \"helm\"", "PodTemplate image cart:1 → cart:2 by \"kubectl-set\"",]
        );
    }
}
