//! Whether the admission policy for people's objects holds: without it anybody who may write a Request could write
//! another's name into it. It is tried with a forgery, in a dry run.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{Ask, OfRemediation, Request, RequestSpec};
use evenkeel_policy::generate::NOT_YOURSELF;
use kube::api::PostParams;

use crate::error::ApiError;
use crate::requests::RequestKeeper;

/// A name that no user has.
const NOBODY: &str = "evenkeel:nobody";
/// Policies take effect late, on one API server after the other: only what was made so long after the first refusal
/// is sure to have been held against it. Creation times are whole seconds.
const SETTLES_IN: Duration = Duration::seconds(3);

/// Since when every forgery was refused.
#[derive(Debug, Default)]
pub(crate) struct AdmissionGuard(Mutex<Option<DateTime<Utc>>>);

/// Whether a request was held against the policy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Yes,
    No(String),
}

impl AdmissionGuard {
    /// Whether a request made then can be believed to be its sender's.
    ///
    /// # Errors
    /// When that could not be tried.
    pub(crate) async fn holds_for(
        &self,
        keeper: &RequestKeeper,
        made_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<Holds, ApiError> {
        let since = match self.try_it(keeper, now).await? {
            Ok(since) => since,
            Err(why) => return Ok(Holds::No(why)),
        };
        Ok(match made_at {
            Some(made_at) if made_at >= since + SETTLES_IN => Holds::Yes,
            _ => Holds::No("it was made before the admission policy was seen to hold; ask again".to_owned()),
        })
    }

    /// Tries it, so that it is known before the first request comes.
    pub(crate) async fn look(&self, keeper: &RequestKeeper, now: DateTime<Utc>) {
        if let Err(error) = self.try_it(keeper, now).await {
            tracing::debug!(%error, "the admission policy for people's objects could not be tried");
        }
    }

    async fn try_it(
        &self,
        keeper: &RequestKeeper,
        now: DateTime<Utc>,
    ) -> Result<Result<DateTime<Utc>, String>, ApiError> {
        let ask = Ask::Cancel(OfRemediation { remediation: "forged".to_owned() });
        let forged = RequestSpec { ask, by: NOBODY.to_owned(), reason: "is a forgery refused?".to_owned() };
        let params = PostParams { dry_run: true, ..crate::remediations::by_us() };
        let what = || "trying the admission policy for people's objects".to_owned();
        let tried = keeper.bounded(what, keeper.writer().create(&params, &Request::new("forged", forged))).await;
        let why = match tried {
            Err(error) if error.code() == Some(422) && error.to_string().contains(NOT_YOURSELF) => {
                let since = self.since().unwrap_or(now);
                self.set(Some(since));
                return Ok(Ok(since));
            }
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => format!("it can't be told who asks: {error}"),
            Ok(_) => "it can't be told who asks: the API server took a request in another's name. `evenkeel policy \
                      admission` has the admission policy that refuses it"
                .to_owned(),
        };
        self.set(None);
        Ok(Err(why))
    }

    fn since(&self) -> Option<DateTime<Utc>> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<DateTime<Utc>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}
