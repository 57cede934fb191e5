//! The API server does not answer the engine as it should.

use std::sync::{Mutex, PoisonError};

use evenkeel_model::Span;
use evenkeel_simulator::{Call, Decision, Intercept};
use serde_json::json;

use crate::engine::NAMESPACE;
use crate::file::{ApiTrouble, Reply};

/// How late a request is carried out where it is not said: less than the API server's own request timeout.
const LATE: Span = Span::seconds(45);

/// Troubles that wait for their requests.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<Vec<ApiTrouble>>);

impl Troubles {
    pub(crate) fn add(&self, trouble: ApiTrouble) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(trouble);
    }
}

impl Intercept for Troubles {
    fn decide(&self, call: &Call) -> Decision {
        if !call.user.starts_with(&format!("system:serviceaccount:{NAMESPACE}:")) {
            return Decision::Pass;
        }
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = troubles.iter().position(|trouble| is_meant(trouble, call)) else { return Decision::Pass };
        let Some(trouble) = troubles.get_mut(at) else { return Decision::Pass };
        let decision = decision(trouble.reply, trouble.by.unwrap_or(LATE));
        trouble.times = trouble.times.saturating_sub(1);
        if trouble.times == 0 {
            troubles.remove(at);
        }
        decision
    }
}

fn is_meant(trouble: &ApiTrouble, call: &Call) -> bool {
    // A watch that never begins is no trouble that ends: the client waits for ever, as on a dead network.
    let verb = match call.verb {
        "get" | "list" => "GET",
        "create" => "POST",
        "update" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        _ => return false,
    };
    // A dry-run is not the request that somebody who says PATCH means.
    let fits = trouble.verb.as_ref().is_none_or(|wanted| wanted == verb && !call.dry_run);
    fits && trouble.object.as_ref().is_none_or(|object| {
        let object = &object.0;
        let resource = call.key.resource.as_str();
        resource.split('.').next() == Some(object.kind.plural())
            && call.key.name == object.name
            && Some(call.key.namespace.as_str()).filter(|namespace| !namespace.is_empty())
                == object.namespace.as_deref()
    })
}

fn decision(reply: Reply, by: Span) -> Decision {
    let answer = |code: u16, reason: &str, message: &str| Decision::Answer {
        code,
        body: json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }),
    };
    match reply {
        Reply::TimeoutAfterCommit => Decision::HoldReply,
        Reply::CommitLate => Decision::Late(by.get()),
        Reply::TimeoutBeforeCommit => Decision::NeverSend,
        Reply::ResetAfterCommit => Decision::LoseReply,
        Reply::ResetBeforeCommit => Decision::BreakBefore,
        Reply::TooManyRequests => answer(
            429,
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        ),
        Reply::InternalError => answer(500, "InternalError", "Internal error occurred: etcdserver: leader changed"),
        Reply::Unavailable => answer(503, "ServiceUnavailable", "apiserver not ready"),
        Reply::Conflict => answer(
            409,
            "Conflict",
            "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again",
        ),
        Reply::Forbidden => answer(403, "Forbidden", "forbidden: User cannot do this"),
    }
}
