//! Whoever uses the command line, as the API server knows them.

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::connect;

/// The user's name. It is written into what they ask for, and the admission policy for people's objects holds it
/// against who sends it.
pub(crate) async fn name(client: &Client) -> Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .map_err(connect::said)
        .context("asking the API server who you are (selfsubjectreviews)")?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    user.filter(|name| !name.is_empty()).context("the API server does not say who you are")
}
