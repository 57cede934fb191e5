//! Hands the incident to people; writes nothing to the object. Always indicated, and done once it is said.

use async_trait::async_trait;
use evenkeel_model::{EscalationSeverity, Plan, Snapshot};
use evenkeel_runtime::redact;

use super::notify::tell;
use super::{Acting, Context, Indication, PlanError, Well};

pub(super) struct Escalate(pub(super) evenkeel_model::Escalate);

#[async_trait]
impl Acting for Escalate {
    fn indication(&self, _: &Snapshot) -> Indication {
        Indication::Indicated("people are to take over".to_owned())
    }

    fn takes_capacity(&self, _: &Snapshot) -> bool {
        false
    }

    async fn plan(&self, context: Context<'_>) -> Result<Plan, PlanError> {
        let severity = match self.0.severity {
            EscalationSeverity::Ticket => "ticket",
            EscalationSeverity::Page => "page",
        };
        Ok(tell(context, format!("{severity}: {}", redact::text(&context.proposal.rationale))))
    }

    fn well(&self, _: &Snapshot) -> Well {
        Well::Yes
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::testing::FakeApi;
    use evenkeel_model::{Kind, Verb};

    use super::super::testing::{plan, read};
    use super::*;

    #[tokio::test]
    async fn people_are_told_why() {
        let api = FakeApi::default();
        let escalate = Escalate(evenkeel_model::Escalate { severity: EscalationSeverity::Page });
        let snapshot = read(&api, Kind::Deployment, "gone").await;
        let plan = plan(&api, &escalate, &snapshot).await.unwrap();
        assert_eq!(
            (plan.request.verb, plan.changes.concat().as_str()),
            (Verb::Tell, "page: The newest revision can't be pulled.")
        );
    }
}
