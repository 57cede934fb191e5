//! Approvals as they are on the API server, and what they are worth: whether admission answers for who wrote them
//! ([`Guard`]), which of them count ([`tally`]), and whether their authors may approve (asked by SubjectAccessReview).

mod index;
pub(crate) mod late;
pub(crate) mod reviews;
pub(crate) mod tally;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use evenkeel_model::{
    APPROVE_GROUP, APPROVE_RESOURCE, APPROVE_VERB, Approval, ApprovalGuard, ApprovalSpec, Clock, Tier,
};
use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::Notify;

use self::index::Index;
use crate::error::{ApiError, bounded};
use crate::guard::{Asking, Guard};

/// So many are read at a time; each may carry 256 KiB of what is thrown away.
const PAGE: u32 = 50;
/// What those of one Remediation may weigh, bytes.
const MOST_OF_ONE: usize = 4 * 1024 * 1024;

/// Answers for a Remediation.
pub(crate) struct Answers {
    /// Oldest first.
    pub(crate) approvals: Vec<Arc<Approval>>,
    /// Why there may be others.
    pub(crate) trouble: Option<String>,
}

pub(crate) struct Approvals {
    reader: Api<DynamicObject>,
    writer: Api<Approval>,
    reviews: Api<SubjectAccessReview>,
    guard: Guard,
    timeout: Duration,
    index: Mutex<Index>,
    /// What found no room in the index is to be listed again.
    room: Notify,
}

impl Approvals {
    pub(crate) fn new(
        reader: Client,
        writer: Client,
        namespace: &str,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Self {
        let resource = ApiResource::erase::<Approval>(&());
        Self {
            reader: Api::namespaced_with(reader.clone(), namespace, &resource),
            guard: Guard::over_approvals(Asking {
                reader: reader.clone(),
                writer: writer.clone(),
                namespace,
                clock,
                timeout,
            }),
            writer: Api::namespaced(writer, namespace),
            reviews: Api::all(reader),
            timeout,
            index: Mutex::default(),
            room: Notify::new(),
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the watch would tell.
    #[cfg(test)]
    pub(crate) fn put(&self, approval: Approval) {
        self.index().apply(approval);
    }

    /// What the watch would tell once it has listed all.
    #[cfg(test)]
    pub(crate) fn list(&self) {
        self.index().begin_relist();
        self.index().end_relist();
    }

    /// Those for a Remediation that are known, oldest first.
    pub(crate) fn known(&self, remediation: &str) -> Vec<Arc<Approval>> {
        self.index().of(remediation)
    }

    /// Those for a Remediation, oldest first: as the watch has told of them, or, where it has not listed all yet or
    /// they are more than are held, and whenever it is `live` that counts, as the API server has them now.
    ///
    /// # Errors
    /// When the API server can't be asked.
    pub(crate) async fn of(&self, remediation: &str, live: bool) -> Result<Answers, ApiError> {
        let is_whole = self.index().is_whole(remediation);
        if live || !is_whole {
            return self.read(remediation).await;
        }
        Ok(Answers { approvals: self.known(remediation), trouble: None })
    }

    async fn read(&self, remediation: &str) -> Result<Answers, ApiError> {
        let mut params = ListParams::default().fields(&format!("spec.remediation={remediation}")).limit(PAGE);
        let mut found = Index::of_size(MOST_OF_ONE);
        let mut trouble = None;
        let reading = async {
            loop {
                let page = self.reader.list(&params).await?;
                for object in page.items {
                    let name = object.name_any();
                    if object.data.pointer("/spec/remediation").and_then(|it| it.as_str()) != Some(remediation) {
                        continue;
                    }
                    match object.try_parse::<Approval>() {
                        Ok(approval) => {
                            found.apply(approval);
                        }
                        // It may be a denial.
                        Err(error) => trouble = Some(format!("approval {name} can't be understood: {error}")),
                    }
                }
                params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
                if params.continue_token.is_none() {
                    return Ok::<(), kube::Error>(());
                }
            }
        };
        // All pages in the time of one request: whoever makes more of them than that makes it wait, and no more.
        bounded(self.timeout, || format!("listing approvals of {remediation}"), reading).await?;
        if found.is_short() {
            trouble = Some(format!("there are more approvals of {remediation} than can be counted"));
        }
        Ok(Answers { approvals: found.of(remediation), trouble })
    }

    /// Has them listed anew where there is room again for what found none.
    pub(crate) fn use_room(&self) {
        let has_room = self.index().has_room_again();
        if has_room {
            self.room.notify_one();
        }
    }

    /// A Remediation is about to be looked at.
    pub(crate) fn seen(&self, remediation: &str) {
        self.index().seen(remediation);
    }

    /// Whether an Approval of it came or went since.
    pub(crate) fn has_news(&self, remediation: &str) -> bool {
        self.index().has_news(remediation)
    }

    /// Whether that it does not count, for this reason, is news.
    pub(crate) fn is_first_refusal(&self, approval: &Approval, reason: &str) -> bool {
        self.index().refuse(&approval.name_any(), reason)
    }

    /// The admission policy as it holds now, or why it can't be said to.
    ///
    /// # Errors
    /// When the API server can't be asked.
    pub(crate) async fn guard(&self) -> Result<Result<ApprovalGuard, String>, ApiError> {
        self.guard.check().await
    }

    /// Whether the API server lets the author approve, as its authority stands now.
    pub(crate) async fn may(
        &self,
        spec: &ApprovalSpec,
        tier: Tier,
        namespace: Option<&str>,
    ) -> Result<Result<(), String>, ApiError> {
        let person = spec.person();
        let review = SubjectAccessReview {
            metadata: ObjectMeta::default(),
            spec: SubjectAccessReviewSpec {
                user: Some(person.to_owned()),
                groups: Some(spec.groups.clone()),
                resource_attributes: Some(tier.right_to_approve(namespace)),
                ..SubjectAccessReviewSpec::default()
            },
            status: None,
        };
        let what = || format!("asking whether {person} may approve");
        let reviewed = bounded(self.timeout, what, self.reviews.create(&PostParams::default(), &review)).await?;
        if reviewed.status.as_ref().is_some_and(|status| status.allowed && status.denied != Some(true)) {
            return Ok(Ok(()));
        }
        let place = namespace.map_or_else(|| "cluster-wide".to_owned(), |namespace| format!("in {namespace}"));
        let tier = tier.resource_name();
        Ok(Err(format!(
            "{person} may not {APPROVE_VERB} {APPROVE_RESOURCE}.{APPROVE_GROUP}/{tier} {place}, as the API server says \
             of that user and the groups that the approval names"
        )))
    }

    /// Deletes the very object that was read.
    pub(crate) async fn delete(&self, approval: &Approval) -> Result<(), ApiError> {
        let name = approval.name_any();
        let what = || format!("deleting approval {name}");
        let preconditions = Preconditions { uid: approval.uid(), resource_version: None };
        let params = DeleteParams::default().preconditions(preconditions);
        match bounded(self.timeout, what, self.writer.delete(&name, &params)).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Those that belong to no Remediation (any more) and are older than `before`.
    pub(crate) fn orphans(&self, before: DateTime<Utc>, is_known: impl Fn(&str) -> bool) -> Vec<Arc<Approval>> {
        let all = self.index().all();
        all.into_iter().filter(|it| created(it) < before && !is_known(&it.spec.remediation)).collect()
    }
}

/// When the API server took it, in its own time and to the second; the beginning of time where it does not say.
pub(crate) fn created(approval: &Approval) -> DateTime<Utc> {
    let at = approval.metadata.creation_timestamp.as_ref();
    at.and_then(|at| DateTime::from_timestamp(at.0.as_second(), 0)).unwrap_or(DateTime::<Utc>::MIN_UTC)
}
