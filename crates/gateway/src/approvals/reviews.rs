//! Who may approve, asked once of each person and their groups in one look, and not without end.

use std::collections::BTreeMap;

use evenkeel_model::{ApprovalSpec, Tier};

use super::Approvals;
use crate::error::ApiError;

/// Of one person so many answers may fall because they may not; then the rest of theirs falls unasked. An honest one
/// has one set of groups.
const MOST_FALLEN: usize = 4;
/// So many questions are asked in one look.
const MOST: usize = 64;

/// What was asked in one look.
#[derive(Debug, Default)]
pub(crate) struct Reviews {
    answers: BTreeMap<(String, Vec<String>), Result<(), String>>,
}

impl Reviews {
    /// Whether the API server lets the author approve; `None` when too much was asked already.
    ///
    /// # Errors
    /// When it can't be asked.
    pub(crate) async fn may(
        &mut self,
        approvals: &Approvals,
        spec: &ApprovalSpec,
        tier: Tier,
        namespace: Option<&str>,
    ) -> Result<Option<Result<(), String>>, ApiError> {
        let key = key(spec);
        if let Some(answer) = self.known(spec) {
            return Ok(Some(answer));
        }
        if self.answers.len() >= MOST {
            return Ok(None);
        }
        let answer = approvals.may(spec, tier, namespace).await?;
        self.answers.insert(key, answer.clone());
        Ok(Some(answer))
    }

    /// What is known without asking.
    pub(crate) fn known(&self, spec: &ApprovalSpec) -> Option<Result<(), String>> {
        if let Some(answer) = self.answers.get(&key(spec)) {
            return Some(answer.clone());
        }
        let theirs =
            |(of, answer): &(&(String, Vec<String>), &Result<(), String>)| of.0 == spec.person() && answer.is_err();
        let fallen = self.answers.iter().filter(theirs).count();
        let why =
            || format!("{} may not with {fallen} other sets of groups, and is not asked about again", spec.person());
        (fallen >= MOST_FALLEN).then(|| Err(why()))
    }
}

fn key(spec: &ApprovalSpec) -> (String, Vec<String>) {
    let mut groups = spec.groups.clone();
    groups.sort();
    groups.dedup();
    (spec.person().to_owned(), groups)
}
