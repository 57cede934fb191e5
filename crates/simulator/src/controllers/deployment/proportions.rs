//! How many pods each ReplicaSet may have.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Rollout;
use super::sets::{self, Sets, available, replicas};
use crate::failure::Failure;
use crate::value::{at, integer, text};

/// An `IntOrString` of a total; a percentage is rounded up or down.
fn of(value: &Value, total: i64, up: bool) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    let percent: i64 = value.as_str().and_then(|text| text.trim_end_matches('%').parse().ok()).unwrap_or(0);
    let hundredths = percent.saturating_mul(total);
    if up { hundredths.div_euclid(100) + i64::from(hundredths.rem_euclid(100) > 0) } else { hundredths.div_euclid(100) }
}

/// An `IntOrString` of a total, a percentage rounded up.
pub(in crate::controllers) fn rounded_up(value: &Value, total: i64) -> i64 {
    of(value, total, true)
}

/// Surge and unavailability; one of them at least is not zero.
fn fenceposts(deployment: &Value) -> (i64, i64) {
    let rolling = |field: &str| match at(deployment, &format!("/spec/strategy/rollingUpdate/{field}")) {
        Value::Null => json!("25%"),
        value => value.clone(),
    };
    let total = replicas(deployment);
    let surge = of(&rolling("maxSurge"), total, true);
    let unavailable = of(&rolling("maxUnavailable"), total, false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

fn is_rolling(deployment: &Value) -> bool {
    text(deployment, "/spec/strategy/type") != "Recreate"
}

/// How many pods more than wanted there may be.
pub(super) fn max_surge(deployment: &Value) -> i64 {
    if is_rolling(deployment) { fenceposts(deployment).0 } else { 0 }
}

/// How many of those wanted may be unavailable.
pub(super) fn max_unavailable(deployment: &Value) -> i64 {
    let wanted = replicas(deployment);
    if is_rolling(deployment) && wanted > 0 { fenceposts(deployment).1.min(wanted) } else { 0 }
}

/// How many pods a new ReplicaSet that has `new` should have, where all have `total`.
pub(super) fn new_replicas(deployment: &Value, total: i64, new: i64) -> i64 {
    let wanted = replicas(deployment);
    if !is_rolling(deployment) {
        return wanted;
    }
    let most = wanted + max_surge(deployment);
    if total >= most { new } else { new + (most - total).min(wanted - new) }
}

/// What a ReplicaSet gets of `to_add` pods, of which `added` are given away.
fn share(deployment: &Value, set: &Value, to_add: i64, added: i64) -> i64 {
    let has = replicas(set);
    if has == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let wanted = replicas(deployment);
    let fraction = if wanted == 0 {
        -has
    } else {
        let before = sets::annotated(set, sets::MAXIMUM).filter(|most| *most != 0);
        let before = before.or_else(|| integer(deployment, "/status/replicas")).filter(|most| *most != 0);
        // Rounded to the nearest, halves away from zero: these are never negative.
        before.map_or(0, |before| (2 * has * (wanted + max_surge(deployment)) + before).div_euclid(2 * before) - has)
    };
    if to_add > 0 { fraction.min(to_add - added) } else { fraction.max(to_add - added) }
}

impl Rollout<'_, '_> {
    /// Gives the ReplicaSets their numbers after the Deployment was scaled: the only active one all of it;
    /// in the middle of a rollout each its proportion.
    pub(super) fn scale(&mut self, sets: &mut Sets) -> Result<(), Failure> {
        let wanted = replicas(&self.deployment);
        let active_old: Vec<usize> =
            sets.old.iter().enumerate().filter(|(_, set)| replicas(set) > 0).map(|(index, _)| index).collect();
        let new_is_active = sets.new.as_ref().is_some_and(|new| replicas(new) > 0);
        match (new_is_active, active_old.as_slice()) {
            (true, []) => return self.annotate_and_scale_new(sets, wanted),
            (false, []) if sets.new.is_some() => return self.annotate_and_scale_new(sets, wanted),
            (false, []) => {
                let Some(latest) = sets.old.len().checked_sub(1) else { return Ok(()) };
                return self.annotate_and_scale_old(sets, latest, wanted);
            }
            (false, &[only]) => return self.annotate_and_scale_old(sets, only, wanted),
            _ => {}
        }
        let saturated = sets.new.as_ref().is_some_and(|new| {
            sets::annotated(new, sets::DESIRED) == Some(wanted) && replicas(new) == wanted && available(new) == wanted
        });
        if saturated {
            return active_old.into_iter().try_for_each(|index| self.scale_old(sets, index, 0).map(drop));
        }
        if !is_rolling(&self.deployment) {
            return Ok(());
        }
        self.scale_in_proportion(sets)
    }

    fn scale_in_proportion(&mut self, sets: &mut Sets) -> Result<(), Failure> {
        let wanted = replicas(&self.deployment);
        let allowed = if wanted > 0 { wanted + max_surge(&self.deployment) } else { 0 };
        let to_add = allowed - sets.total();
        // The largest first; among equals the newest when growing, the oldest when shrinking.
        let mut order: Vec<(Option<usize>, Arc<Value>)> =
            sets.old.iter().enumerate().map(|(index, set)| (Some(index), set.clone())).collect();
        order.extend(sets.new.iter().map(|new| (None, new.clone())));
        order.retain(|(_, set)| replicas(set) > 0);
        if to_add > 0 {
            order.sort_by(|(_, one), (_, other)| {
                replicas(other).cmp(&replicas(one)).then_with(|| sets::made(other).cmp(&sets::made(one)))
            });
        } else {
            order.sort_by(|(_, one), (_, other)| {
                replicas(other).cmp(&replicas(one)).then_with(|| sets::made(one).cmp(&sets::made(other)))
            });
        }
        let mut added = 0;
        let mut sizes = Vec::new();
        for (_, set) in &order {
            let share = share(&self.deployment, set, to_add, added);
            added += share;
            sizes.push(replicas(set) + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        for ((index, _), size) in order.into_iter().zip(sizes) {
            match index {
                Some(index) => self.annotate_and_scale_old(sets, index, size)?,
                None => self.annotate_and_scale_new(sets, size)?,
            }
        }
        Ok(())
    }

    fn annotate_and_scale_new(&mut self, sets: &mut Sets, to: i64) -> Result<(), Failure> {
        if let Some(new) = sets.new.take() {
            sets.new = Some(self.scale_set(&new, to)?.0);
        }
        Ok(())
    }

    fn annotate_and_scale_old(&mut self, sets: &mut Sets, index: usize, to: i64) -> Result<(), Failure> {
        if let Some(old) = sets.old.get_mut(index) {
            *old = self.scale_set(old, to)?.0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{max_surge, max_unavailable, new_replicas};

    #[test]
    fn percentages_round_up_for_surge_and_down_for_unavailability() {
        let deployment = json!({"spec": {"replicas": 10, "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}});
        assert_eq!((max_surge(&deployment), max_unavailable(&deployment)), (3, 2));
        assert_eq!(new_replicas(&deployment, 10, 0), 3);
        assert_eq!(new_replicas(&deployment, 13, 5), 5);
    }

    #[test]
    fn a_rollout_that_could_not_move_may_lose_one() {
        let deployment = json!({"spec": {"replicas": 1, "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}}});
        assert_eq!((max_surge(&deployment), max_unavailable(&deployment)), (0, 1));
    }
}
