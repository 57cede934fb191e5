//! Whose pod it is, by its name: no alert history has owners. The engine itself never guesses; a
//! backtest of alerts about pods would say nothing without it, and says that it did.

use evenkeel_model::{Kind, ObjectRef};

/// The letters of generated suffixes (`k8s.io/apimachinery/pkg/util/rand`).
const SUFFIX: &str = "bcdfghjklmnpqrstvwxz2456789";

/// The Deployment or StatefulSet that a pod's name speaks of; `None` where it could be another's.
pub(super) fn of_pod(target: &ObjectRef) -> Option<ObjectRef> {
    if target.kind != Kind::Pod {
        return None;
    }
    let namespace = target.namespace.as_deref()?;
    let (rest, last) = target.name.rsplit_once('-')?;
    if !last.is_empty() && last.len() <= 4 && last.bytes().all(|b| b.is_ascii_digit()) {
        return Some(ObjectRef::namespaced(Kind::StatefulSet, namespace, rest));
    }
    let (name, hash) = rest.rsplit_once('-')?;
    let is_generated = |text: &str| text.chars().all(|c| SUFFIX.contains(c));
    let is_deployment = last.len() == 5
        && is_generated(last)
        && (8..=10).contains(&hash.len())
        && is_generated(hash)
        && !name.is_empty();
    is_deployment.then(|| ObjectRef::namespaced(Kind::Deployment, namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_tell_their_workload_and_others_nothing() {
        let of = |name: &str| of_pod(&ObjectRef::namespaced(Kind::Pod, "shop", name)).map(|root| root.to_string());
        assert_eq!(of("cart-5d9f7c8b6d-x2x4z").as_deref(), Some("deployment/shop/cart"));
        assert_eq!(of("my-cart-5d9f7c8b6-zzzzz").as_deref(), Some("deployment/shop/my-cart"));
        assert_eq!(of("db-0").as_deref(), Some("statefulset/shop/db"));
        for other in ["agent-x2x4z", "cart", "report-29341230-abcde", "a-0-b", "0", "cart-"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
