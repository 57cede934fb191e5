//! The ledger's arithmetic: claims with epochs, exact sliding windows, concurrency. Values in,
//! values out; the caller writes the result by compare-and-set on the Ledger's resourceVersion.

use chrono::{DateTime, Utc};
use evenkeel_model::{ActionName, Claim, Debit, LedgerClaim, LedgerSpec, ObjectRef, Rate, Span};

use crate::{ConcurrentLimit, EffectiveRates};

/// At most so many debits: a full ledger with the longest names stays below the 1.5 MiB that etcd takes.
pub const MAX_DEBITS: usize = 4_300;
/// At most so many claims.
pub const MAX_CLAIMS: usize = 200;
/// Until when a root is held that waits for a person: the last moment RFC 3339 can write.
pub const HELD_FOR_PERSON: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(at) => at,
    None => DateTime::<Utc>::MAX_UTC,
};
/// Debits are remembered for so long at least, so that a policy with longer windows finds them.
const REMEMBER: Span = Span::hours(24);
/// Claims that have ended are kept for so long, to be looked at.
const CLAIM_MEMORY: Span = Span::hours(1);

/// What a gateway asks of the ledger.
#[derive(Debug, Clone, Copy)]
pub struct ClaimAsk<'a> {
    /// The Remediation's name.
    pub remediation: &'a str,
    /// The object the incident is about: what is held.
    pub root: &'a ObjectRef,
    /// The object to be acted on: what is counted.
    pub target: &'a ObjectRef,
    /// What is to be done.
    pub action: ActionName,
    /// The playbook that asks: what is counted.
    pub playbook: &'a str,
    /// Rates that apply.
    pub rates: &'a EffectiveRates,
    /// Concurrency limits that apply.
    pub concurrent: &'a [ConcurrentLimit],
    /// The process that asks; distinct for every start of it.
    pub holder: &'a str,
    /// For how long.
    pub hold_for: Span,
    /// How long after a claim's end another may take it: the API server's request timeout.
    pub grace: Span,
    /// The cluster's name, for keys.
    pub cluster: &'a str,
}

/// In which scope a rate is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One target.
    Target,
    /// One namespace.
    Namespace,
    /// One playbook.
    Playbook,
    /// The cluster.
    Cluster,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Target => "to this target",
            Self::Namespace => "in this namespace",
            Self::Playbook => "by this playbook",
            Self::Cluster => "in the cluster",
        })
    }
}

/// Why no claim is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimRefused {
    /// Another remediation, or another process for this one, holds the root.
    #[error("{root} is held for {remediation} by {holder} until {until}")]
    HeldByOther {
        /// The root.
        root: String,
        /// The Remediation it is held for.
        remediation: String,
        /// The process that holds it.
        holder: String,
        /// From when on it can be had.
        until: DateTime<Utc>,
    },
    /// It is held until a person acknowledges how a remediation ended.
    #[error("{root} is held until somebody looks at {remediation} and acknowledges it (evenkeel ack)")]
    HeldForPerson {
        /// The root.
        root: String,
        /// The Remediation to be looked at.
        remediation: String,
    },
    /// A rate is used up.
    #[error("{action} was done as often {scope} as {rate} allows; again from {until}")]
    RateExceeded {
        /// The action.
        action: ActionName,
        /// The scope.
        scope: Scope,
        /// The rate.
        rate: Rate,
        /// From when on it has room.
        until: DateTime<Utc>,
    },
    /// As many remediations as a policy allows are under way.
    #[error(
        "{limit} remediations are under way among the objects of policy {policy}, as many as it allows; again from {until}"
    )]
    Concurrent {
        /// The policy.
        policy: String,
        /// Its limit.
        limit: u32,
        /// When the first of them ends unless it is extended.
        until: DateTime<Utc>,
    },
    /// The ledger remembers as much as it can.
    #[error("the ledger is full; again from {until}")]
    Full {
        /// When the oldest entry is forgotten.
        until: DateTime<Utc>,
    },
}

/// The remediation does not hold the root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{remediation} holds no claim of epoch {epoch}: another has taken it, or it was released")]
pub struct NotHeld {
    /// The Remediation.
    pub remediation: String,
    /// The epoch it thought to hold.
    pub epoch: u64,
}

/// Claims a root and debits every scope.
///
/// The same remediation asked again is no second debit: by the process that holds the claim it is
/// extended, by another (or once it has ended) it is given anew with a higher epoch, and it is not
/// refused for rates or concurrency, since what was begun has to be brought to an end.
///
/// # Errors
/// [`ClaimRefused`] says why not, and from when on to try again.
pub fn claim(ledger: &LedgerSpec, ask: &ClaimAsk<'_>, now: DateTime<Utc>) -> Result<(LedgerSpec, Claim), ClaimRefused> {
    let mut ledger = prune(ledger, now);
    let key = ask.root.key(ask.cluster);
    let found = ledger.claims.get(&key);
    if let Some(found) = found {
        if is_held_for_person(found) {
            let (root, remediation) = (ask.root.to_string(), found.remediation.clone());
            return Err(ClaimRefused::HeldForPerson { root, remediation });
        }
        let is_ours = found.remediation == ask.remediation && found.holder == ask.holder;
        if is_ours && now < found.until {
            let epoch = found.epoch;
            return extend(&ledger, ask.remediation, epoch, ask.hold_for, now)
                .map_err(|_| held_by_other(found, ask, now));
        }
        // Another's last request may still be on its way until the API server gives up on it. And what another
        // remediation did to the root is to be verified and perhaps undone, however long nobody got to it: only its
        // release, or its being forgotten, frees the root.
        let is_another = found.remediation != ask.remediation;
        if !is_ours && (is_another || now < found.until + ask.grace.chrono()) {
            return Err(held_by_other(found, ask, now));
        }
    }
    let begun = found.filter(|found| found.remediation == ask.remediation).map(|found| found.policies.clone());
    let acted = found.is_some_and(|found| found.remediation == ask.remediation && found.acted);
    let is_debited = ledger.debits.iter().any(|debit| debit.remediation == ask.remediation);
    if begun.is_none() && !is_debited {
        within_rates(&ledger, ask, now)?;
        within_concurrency(&ledger, ask, now)?;
    }
    if found.is_none() && ledger.claims.len() >= MAX_CLAIMS {
        let until = ledger.claims.values().map(|claim| claim.until).min().unwrap_or(now);
        return Err(ClaimRefused::Full { until });
    }
    if !is_debited {
        debit(&mut ledger, ask, now)?;
    }
    let mut policies: Vec<String> = ask.concurrent.iter().map(|limit| limit.policy.clone()).collect();
    policies.extend(begun.unwrap_or_default());
    policies.sort();
    policies.dedup();
    ledger.epoch += 1;
    let claim = LedgerClaim {
        remediation: ask.remediation.to_owned(),
        root: ask.root.clone(),
        epoch: ledger.epoch,
        until: rounded_up(now + ask.hold_for.chrono()),
        holder: ask.holder.to_owned(),
        policies,
        acted,
    };
    let given = given(&claim);
    ledger.claims.insert(key, claim);
    Ok((ledger, given))
}

fn given(claim: &LedgerClaim) -> Claim {
    Claim { epoch: claim.epoch, until: claim.until, holder: claim.holder.clone() }
}

fn held_by_other(found: &LedgerClaim, ask: &ClaimAsk<'_>, now: DateTime<Utc>) -> ClaimRefused {
    ClaimRefused::HeldByOther {
        root: ask.root.to_string(),
        remediation: found.remediation.clone(),
        holder: found.holder.clone(),
        until: again(found.until + ask.grace.chrono(), ask, now),
    }
}

/// When it is worth asking again: not at once where a claim was not extended in time.
fn again(until: DateTime<Utc>, ask: &ClaimAsk<'_>, now: DateTime<Utc>) -> DateTime<Utc> {
    if until > now { until } else { rounded_up(now + ask.hold_for.chrono()) }
}

/// Exact sliding windows: in any time as long as a rate's window there are at most as many as it
/// counts. Of several rates used up, the one that takes longest to have room is told.
///
/// What counts is when something was done, not when it was claimed: between the two a gateway may have died, and another
/// does it minutes later. So whatever is under way and not known to be done counts as if it were done now. A claim is
/// remembered for an hour after its end, and a proposal lives no longer: what was forgotten is not done any more.
fn within_rates(ledger: &LedgerSpec, ask: &ClaimAsk<'_>, now: DateTime<Utc>) -> Result<(), ClaimRefused> {
    let (target, playbook) = (ask.target.key(ask.cluster), Debit::playbook_key(ask.playbook));
    let scopes = [
        (Scope::Target, &ask.rates.target),
        (Scope::Namespace, &ask.rates.namespace),
        (Scope::Playbook, &ask.rates.playbook),
        (Scope::Cluster, &ask.rates.cluster),
    ];
    let used_up = scopes.into_iter().flat_map(|(scope, rates)| {
        let counts = |debit: &&Debit| {
            debit.action == ask.action
                && match scope {
                    Scope::Target => debit.target == target,
                    Scope::Namespace => debit.namespace == ask.target.namespace,
                    Scope::Playbook => debit.playbook.as_ref() == Some(&playbook),
                    Scope::Cluster => true,
                }
        };
        let done_at =
            |debit: &Debit| if is_under_way(ledger, debit) { debit.at.max(rounded_up(now)) } else { debit.at };
        let spent: Vec<DateTime<Utc>> = ledger.debits.iter().filter(counts).map(done_at).collect();
        rates.iter().filter_map(move |rate| Some((room_from(&spent, *rate, now)?, scope, *rate)))
    });
    match used_up.max_by_key(|(until, _, _)| *until) {
        None => Ok(()),
        Some((until, scope, rate)) => Err(ClaimRefused::RateExceeded { action: ask.action, scope, rate, until }),
    }
}

/// Whether it is not known yet when it was done.
fn is_under_way(ledger: &LedgerSpec, debit: &Debit) -> bool {
    let is_it = |claim: &LedgerClaim| claim.remediation == debit.remediation;
    ledger.claims.values().any(|claim| is_it(claim) && !claim.acted && !is_held_for_person(claim))
}

/// Notes that a remediation was done, at this time at the latest: from then on its rates are counted.
pub fn acted(ledger: &LedgerSpec, remediation: &str, at: DateTime<Utc>) -> LedgerSpec {
    let mut ledger = ledger.clone();
    for claim in ledger.claims.values_mut().filter(|claim| claim.remediation == remediation) {
        claim.acted = true;
    }
    let at = rounded_up(at);
    for debit in ledger.debits.iter_mut().filter(|debit| debit.remediation == remediation && debit.at < at) {
        debit.forget_at += at - debit.at;
        debit.at = at;
    }
    ledger.debits.sort_by_key(|debit| debit.at);
    ledger
}

/// When a rate has room again; `None` when it has now. What lies ahead of our clock (another's runs
/// fast) counts too.
fn room_from(spent: &[DateTime<Utc>], rate: Rate, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let window = rate.window.chrono();
    let mut within: Vec<DateTime<Utc>> = spent.iter().copied().filter(|at| *at > rounded_up(now) - window).collect();
    within.sort_unstable();
    let count = usize::try_from(rate.count.get()).unwrap_or(usize::MAX);
    // There is room once all but count - 1 have left the window.
    within.get(within.len().checked_sub(count)?).map(|at| *at + window)
}

fn within_concurrency(ledger: &LedgerSpec, ask: &ClaimAsk<'_>, now: DateTime<Utc>) -> Result<(), ClaimRefused> {
    for ConcurrentLimit { policy, limit } in ask.concurrent {
        // Whatever was not released is under way: a claim that was not extended says that its gateway is away, not
        // that what it began has ended.
        let under_way = ledger.claims.values().filter(|claim| {
            !is_held_for_person(claim) && claim.remediation != ask.remediation && claim.policies.contains(policy)
        });
        let ends: Vec<DateTime<Utc>> = under_way.map(|claim| claim.until).collect();
        if ends.len() >= usize::try_from(*limit).unwrap_or(usize::MAX) {
            let until = again(ends.into_iter().min().unwrap_or(now), ask, now);
            return Err(ClaimRefused::Concurrent { policy: policy.clone(), limit: *limit, until });
        }
    }
    Ok(())
}

fn debit(ledger: &mut LedgerSpec, ask: &ClaimAsk<'_>, now: DateTime<Utc>) -> Result<(), ClaimRefused> {
    if ledger.debits.len() >= MAX_DEBITS {
        let until = ledger.debits.iter().map(|debit| debit.forget_at).min().unwrap_or(now);
        return Err(ClaimRefused::Full { until });
    }
    let rates = [&ask.rates.target, &ask.rates.namespace, &ask.rates.playbook, &ask.rates.cluster];
    let longest = rates.into_iter().flatten().map(|rate| rate.window).max().unwrap_or(REMEMBER).max(REMEMBER);
    let at = rounded_up(now);
    let debit = Debit {
        remediation: ask.remediation.to_owned(),
        action: ask.action,
        target: ask.target.key(ask.cluster),
        namespace: ask.target.namespace.clone(),
        playbook: Some(Debit::playbook_key(ask.playbook)),
        at,
        forget_at: at + longest.chrono(),
    };
    let place = ledger.debits.partition_point(|earlier| earlier.at <= at);
    ledger.debits.insert(place, debit);
    Ok(())
}

/// To whole milliseconds, which keeps the ledger small; up, so that no window gets shorter by it.
fn rounded_up(at: DateTime<Utc>) -> DateTime<Utc> {
    let below = i64::from(at.timestamp_subsec_nanos() % 1_000_000);
    if below == 0 { at } else { at + chrono::Duration::nanoseconds(1_000_000 - below) }
}

/// Extends a claim that is held.
///
/// # Errors
/// [`NotHeld`] when it is not, or has ended.
pub fn extend(
    ledger: &LedgerSpec,
    remediation: &str,
    epoch: u64,
    hold_for: Span,
    now: DateTime<Utc>,
) -> Result<(LedgerSpec, Claim), NotHeld> {
    let mut ledger = ledger.clone();
    let is_it =
        |claim: &&mut LedgerClaim| claim.remediation == remediation && claim.epoch == epoch && now < claim.until;
    let Some(claim) = ledger.claims.values_mut().find(is_it) else {
        return Err(NotHeld { remediation: remediation.to_owned(), epoch });
    };
    claim.until = claim.until.max(rounded_up(now + hold_for.chrono()));
    let given = given(claim);
    Ok((ledger, given))
}

/// Gives up a remediation's claim, and its debit when nothing was sent. Without a claim only the
/// debit goes; what is held for a person stays.
pub fn release(ledger: &LedgerSpec, remediation: &str, refund: bool) -> LedgerSpec {
    let mut ledger = ledger.clone();
    if ledger.claims.values().any(|claim| claim.remediation == remediation && is_held_for_person(claim)) {
        return ledger;
    }
    ledger.claims.retain(|_, claim| claim.remediation != remediation);
    if refund {
        ledger.debits.retain(|debit| debit.remediation != remediation);
    }
    ledger
}

/// Holds the root until a person acknowledges: for remediations that ended Unknown or
/// RollbackFailed. Without a claim nothing changes. Whatever was done was done by now.
pub fn hold_for_person(ledger: &LedgerSpec, remediation: &str, now: DateTime<Utc>) -> LedgerSpec {
    if !ledger.claims.values().any(|claim| claim.remediation == remediation) {
        return ledger.clone();
    }
    let was_acted = ledger.claims.values().any(|claim| claim.remediation == remediation && claim.acted);
    let mut ledger = if was_acted { ledger.clone() } else { acted(ledger, remediation, now) };
    for claim in ledger.claims.values_mut().filter(|claim| claim.remediation == remediation) {
        claim.until = HELD_FOR_PERSON;
    }
    ledger
}

/// Whether a root waits for a person.
pub fn is_held_for_person(claim: &LedgerClaim) -> bool {
    claim.until == HELD_FOR_PERSON
}

/// Frees what was held for a person.
pub fn acknowledge(ledger: &LedgerSpec, remediation: &str) -> LedgerSpec {
    let mut ledger = ledger.clone();
    ledger.claims.retain(|_, claim| claim.remediation != remediation || !is_held_for_person(claim));
    ledger
}

/// Drops what counts no more.
pub fn prune(ledger: &LedgerSpec, now: DateTime<Utc>) -> LedgerSpec {
    let mut ledger = ledger.clone();
    ledger.debits.retain(|debit| now < debit.forget_at);
    ledger.claims.retain(|_, claim| is_held_for_person(claim) || now < claim.until + CLAIM_MEMORY.chrono());
    ledger
}

#[cfg(test)]
mod tests;
