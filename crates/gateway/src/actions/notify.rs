//! Tells people; writes nothing to the object. Always indicated, and done once it is said.

use async_trait::async_trait;
use evenkeel_model::{ApiRequest, Plan, Snapshot, Verb};
use evenkeel_runtime::redact;

use super::{Acting, Context, Indication, PlanError, Well};

pub(super) struct Notify(pub(super) evenkeel_model::Notify);

#[async_trait]
impl Acting for Notify {
    fn indication(&self, _: &Snapshot) -> Indication {
        Indication::Indicated("people are to be told".to_owned())
    }

    fn takes_capacity(&self, _: &Snapshot) -> bool {
        false
    }

    async fn plan(&self, context: Context<'_>) -> Result<Plan, PlanError> {
        Ok(tell(context, redact::text(&self.0.message)))
    }

    fn well(&self, _: &Snapshot) -> Well {
        Well::Yes
    }
}

/// A plan that writes nothing to the object.
pub(super) fn tell(context: Context<'_>, what: String) -> Plan {
    let request = ApiRequest { verb: Verb::Tell, object: context.proposal.target.clone(), body: None };
    Plan { request, inverse: None, changes: vec![what], captured: Vec::new() }
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::testing::FakeApi;
    use evenkeel_model::Kind;

    use super::super::testing::{is_indicated, plan, read};
    use super::super::{Probe, probe, send};
    use super::*;

    #[tokio::test]
    async fn telling_sends_nothing_to_the_api_server() {
        let api = FakeApi::default();
        let notify = Notify(evenkeel_model::Notify { message: "cart is slow; token=abcdefgh".to_owned() });
        let snapshot = read(&api, Kind::Deployment, "gone").await;
        assert!(is_indicated(&notify, &snapshot) && !notify.takes_capacity(&snapshot));
        let plan = plan(&api, &notify, &snapshot).await.unwrap();
        assert_eq!(plan.changes, ["cart is slow; token=[redacted]"]);
        send(&api.client(), &plan.request, false).await.unwrap();
        assert!(matches!(probe(&api.client(), &plan.request).await.unwrap(), Probe::Done(_)));
        assert_eq!(notify.well(&snapshot), Well::Yes);
        assert!(api.sent().is_empty());
    }
}
