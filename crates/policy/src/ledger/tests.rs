use std::collections::BTreeSet;

use evenkeel_model::Kind;

use super::*;

const HOLD: Span = Span::minutes(2);
const GRACE: Span = Span::seconds(60);

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
}

fn root(name: &str) -> ObjectRef {
    ObjectRef::namespaced(Kind::Deployment, "shop", name)
}

fn rates(target: &str, namespace: &str, cluster: &str) -> EffectiveRates {
    let one = |rate: &str| BTreeSet::from([rate.parse().unwrap()]);
    EffectiveRates { target: one(target), namespace: one(namespace), playbook: BTreeSet::new(), cluster: one(cluster) }
}

fn limit(limit: u32) -> Vec<ConcurrentLimit> {
    vec![ConcurrentLimit { policy: "shop".to_owned(), limit }]
}

struct Asked {
    remediation: &'static str,
    root: ObjectRef,
    playbook: &'static str,
    holder: &'static str,
    rates: EffectiveRates,
    concurrent: Vec<ConcurrentLimit>,
}

impl Asked {
    fn of(remediation: &'static str, name: &str) -> Self {
        let rates = rates("2/1h", "3/1h", "10/1h");
        Self { remediation, root: root(name), playbook: "bad-rollout", holder: "a", rates, concurrent: limit(10) }
    }

    fn by(mut self, holder: &'static str) -> Self {
        self.holder = holder;
        self
    }

    fn claim(&self, ledger: &LedgerSpec, now: DateTime<Utc>) -> Result<(LedgerSpec, Claim), ClaimRefused> {
        let ask = ClaimAsk {
            remediation: self.remediation,
            root: &self.root,
            target: &self.root,
            action: ActionName::RollbackWorkload,
            playbook: self.playbook,
            rates: &self.rates,
            concurrent: &self.concurrent,
            holder: self.holder,
            hold_for: HOLD,
            grace: GRACE,
            cluster: "c",
        };
        claim(ledger, &ask, now)
    }
}

#[test]
fn a_claim_holds_its_root_against_other_remediations_until_it_is_released_or_forgotten() {
    let (ledger, first) = Asked::of("r-1", "cart").claim(&LedgerSpec::default(), at(0)).unwrap();
    assert_eq!((first.epoch, first.until), (1, at(120)));
    let refused = Asked::of("r-2", "cart").by("b").claim(&ledger, at(179)).unwrap_err();
    assert_eq!(refused.to_string(), "deployment/shop/cart is held for r-1 by a until 2026-01-01 00:03:00 UTC");
    // Its gateway is away; what it did is not verified yet.
    let refused = Asked::of("r-2", "cart").by("b").claim(&ledger, at(180)).unwrap_err();
    assert!(matches!(refused, ClaimRefused::HeldByOther { until, .. } if until == at(300)), "{refused}");
    let released = release(&ledger, "r-1", false);
    assert!(Asked::of("r-2", "cart").by("b").claim(&released, at(10)).is_ok());
    let (ledger, second) = Asked::of("r-2", "cart").by("b").claim(&ledger, at(120 + 3600)).unwrap();
    assert_eq!(second.epoch, 2);
    assert_eq!(extend(&ledger, "r-1", 1, HOLD, at(121 + 3600)).unwrap_err().epoch, 1);
    // Another root is free all the while.
    assert!(Asked::of("r-3", "web").claim(&ledger, at(1)).is_ok());
}

#[test]
fn the_same_remediation_is_debited_once_whoever_goes_on_with_it() {
    let (ledger, first) = Asked::of("r-1", "cart").claim(&LedgerSpec::default(), at(0)).unwrap();
    // By its holder: extended.
    let (ledger, again) = Asked::of("r-1", "cart").claim(&ledger, at(60)).unwrap();
    assert_eq!((again.epoch, again.until), (first.epoch, at(180)));
    // By another process: not before it has ended, then with a higher epoch.
    assert!(matches!(Asked::of("r-1", "cart").by("b").claim(&ledger, at(100)), Err(ClaimRefused::HeldByOther { .. })));
    let (ledger, taken) = Asked::of("r-1", "cart").by("b").claim(&ledger, at(240)).unwrap();
    assert_eq!((taken.epoch, taken.holder.as_str()), (2, "b"));
    // By the same process after it has ended: at once, with a higher epoch.
    let (ledger, anew) = Asked::of("r-1", "cart").by("b").claim(&ledger, at(361)).unwrap();
    assert_eq!(anew.epoch, 3);
    assert_eq!(ledger.debits.len(), 1);
}

#[test]
fn what_was_begun_goes_on_when_rates_and_concurrency_are_used_up_meanwhile() {
    let mut begun = Asked::of("r-1", "cart");
    begun.rates = rates("1/1h", "1/1h", "1/1h");
    begun.concurrent = limit(1);
    let (ledger, _) = begun.claim(&LedgerSpec::default(), at(0)).unwrap();
    // Under another policy, which counts its own.
    let (ledger, _) = Asked::of("r-2", "web").claim(&ledger, at(130)).unwrap();
    let (ledger, taken) = begun.by("b").claim(&ledger, at(200)).unwrap();
    assert_eq!(taken.epoch, 3);
    assert_eq!(ledger.debits.len(), 2);
    // Once the claim was forgotten the debit still tells.
    let later = at(2 * 3600);
    assert!(prune(&ledger, later).claims.is_empty());
    let (ledger, _) = Asked::of("r-1", "cart").claim(&ledger, later).unwrap();
    assert_eq!(ledger.debits.len(), 2);
}

#[test]
fn rates_are_refused_with_the_time_from_which_there_is_room() {
    let mut ledger = LedgerSpec::default();
    for (remediation, seconds) in [("r-1", 0), ("r-2", 600)] {
        ledger = release(&Asked::of(remediation, "cart").claim(&ledger, at(seconds)).unwrap().0, remediation, false);
    }
    let refused = Asked::of("r-3", "cart").claim(&ledger, at(700)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "rollbackWorkload was done as often to this target as 2/1h allows; again from 2026-01-01 01:00:00 UTC"
    );
    assert!(Asked::of("r-3", "cart").claim(&ledger, at(3599)).is_err());
    assert!(Asked::of("r-3", "cart").claim(&ledger, at(3600)).is_ok());

    ledger = Asked::of("r-4", "web").claim(&ledger, at(800)).unwrap().0;
    let refused = Asked::of("r-5", "api").claim(&ledger, at(900)).unwrap_err();
    assert!(matches!(refused, ClaimRefused::RateExceeded { scope: Scope::Namespace, until, .. } if until == at(3600)));
    // Of several, the one that takes longest.
    let mut narrow = Asked::of("r-5", "cart");
    narrow.rates = rates("1/2h", "3/1h", "10/1h");
    let refused = narrow.claim(&ledger, at(900)).unwrap_err();
    assert!(matches!(refused, ClaimRefused::RateExceeded { scope: Scope::Target, until, .. } if until == at(7800)));
}

#[test]
fn a_refund_gives_the_room_back_and_a_release_alone_does_not() {
    let mut once = Asked::of("r-1", "cart");
    once.rates = rates("1/1h", "1/1h", "1/1h");
    let (ledger, _) = once.claim(&LedgerSpec::default(), at(0)).unwrap();
    let mut next = Asked::of("r-2", "cart");
    next.rates = rates("1/1h", "1/1h", "1/1h");
    assert!(next.claim(&release(&ledger, "r-1", false), at(10)).is_err());
    assert!(next.claim(&release(&ledger, "r-1", true), at(10)).is_ok());
    assert_eq!(release(&ledger, "r-9", true), ledger);
}

#[test]
fn concurrency_counts_what_is_under_way_under_the_policy() {
    let one = |remediation, name| Asked { concurrent: limit(1), ..Asked::of(remediation, name) };
    let (ledger, _) = one("r-1", "cart").claim(&LedgerSpec::default(), at(0)).unwrap();
    let refused = one("r-2", "web").claim(&ledger, at(10)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "1 remediations are under way among the objects of policy shop, as many as it allows; again from 2026-01-01 00:02:00 UTC"
    );
    assert!(one("r-2", "web").claim(&ledger, at(120)).is_err(), "its gateway is away; it was not released");
    assert!(one("r-2", "web").claim(&ledger, at(120 + 3600)).is_ok(), "it is forgotten");
    assert!(one("r-2", "web").claim(&release(&ledger, "r-1", false), at(10)).is_ok(), "it was released");
    // What waits for a person holds its root, not the policy.
    assert!(one("r-2", "web").claim(&hold_for_person(&ledger, "r-1", at(10)), at(10)).is_ok());
}

#[test]
fn a_root_held_for_a_person_is_free_only_when_acknowledged() {
    let (ledger, _) = Asked::of("r-1", "cart").claim(&LedgerSpec::default(), at(0)).unwrap();
    let ledger = hold_for_person(&ledger, "r-1", at(10));
    assert_eq!(serde_json::to_value(HELD_FOR_PERSON).unwrap(), "9999-12-31T23:59:59Z");
    let year = at(366 * 86_400);
    let refused = Asked::of("r-2", "cart").claim(&ledger, year).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "deployment/shop/cart is held until somebody looks at r-1 and acknowledges it (evenkeel ack)"
    );
    assert!(Asked::of("r-1", "cart").claim(&ledger, year).is_err());
    assert_eq!(release(&ledger, "r-1", true), ledger);
    let ledger = acknowledge(&ledger, "r-1");
    assert!(Asked::of("r-2", "cart").claim(&ledger, at(10)).is_ok());
    // Acknowledging what is under way does not free it.
    let (ledger, _) = Asked::of("r-3", "web").claim(&ledger, at(10)).unwrap();
    assert_eq!(acknowledge(&ledger, "r-3"), ledger);
}

#[test]
fn a_playbook_is_counted_over_all_namespaces_and_another_by_itself() {
    let asked = |remediation, namespace: &str, playbook| {
        let mut asked = Asked::of(remediation, "cart");
        asked.root.namespace = Some(namespace.to_owned());
        asked.rates.playbook = BTreeSet::from(["2/1h".parse().unwrap()]);
        asked.playbook = playbook;
        asked
    };
    let mut ledger = LedgerSpec::default();
    for (remediation, namespace, seconds) in [("r-1", "shop", 0), ("r-2", "bank", 60)] {
        ledger = asked(remediation, namespace, "bad-rollout").claim(&ledger, at(seconds)).unwrap().0;
        ledger = acted(&ledger, remediation, at(seconds));
    }
    let refused = asked("r-3", "wiki", "bad-rollout").claim(&ledger, at(120)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "rollbackWorkload was done as often by this playbook as 2/1h allows; again from 2026-01-01 01:00:00 UTC"
    );
    assert!(asked("r-3", "wiki", "other").claim(&ledger, at(120)).is_ok());
    assert!(asked("r-3", "wiki", "bad-rollout").claim(&ledger, at(3600)).is_ok());
}

#[test]
fn a_full_ledger_refuses_and_still_fits_into_etcd() {
    let name = |n: usize, length: usize| format!("{n:x>length$}");
    let namespace = |n| name(n, 63);
    let mut ledger = LedgerSpec { epoch: 99_999, ..LedgerSpec::default() };
    let now = at(0) + chrono::Duration::milliseconds(123);
    for n in 0..MAX_DEBITS {
        ledger.debits.push(Debit {
            remediation: format!("r-{}", name(n, 20)),
            action: ActionName::RollbackWorkload,
            target: name(n, 40),
            namespace: Some(namespace(n)),
            playbook: Some(name(n, 8)),
            at: now,
            forget_at: now + REMEMBER.chrono(),
        });
    }
    for n in 0..MAX_CLAIMS {
        let root =
            ObjectRef::namespaced(Kind::HorizontalPodAutoscaler, namespace(n), name(n, 253)).with_uid(name(n, 36));
        let claim = LedgerClaim {
            remediation: format!("r-{}", name(n, 20)),
            root,
            epoch: 99_999,
            until: now,
            holder: name(n, 80),
            policies: (0..4).map(|p| name(p, 63)).collect(),
            acted: true,
        };
        ledger.claims.insert(name(n, 40), claim);
    }
    let bytes = serde_json::to_vec(&ledger).unwrap().len();
    assert!(bytes < 1_450_000, "{bytes} bytes");
    ledger.claims.clear();
    let asked = Asked { rates: rates("1/1h", "3/1h", "9999/1h"), ..Asked::of("r-new", "cart") };
    let refused = asked.claim(&ledger, now).unwrap_err();
    assert_eq!(refused, ClaimRefused::Full { until: now + REMEMBER.chrono() });
    assert!(asked.claim(&ledger, now + REMEMBER.chrono()).is_ok(), "what is forgotten makes room");
}

#[test]
fn times_are_rounded_so_that_no_window_gets_shorter() {
    let odd = at(0) + chrono::Duration::nanoseconds(1);
    let mut once = Asked::of("r-1", "cart");
    once.rates = rates("1/1h", "9/1h", "9/1h");
    let ledger = release(&once.claim(&LedgerSpec::default(), odd).unwrap().0, "r-1", false);
    assert_eq!(ledger.debits.first().unwrap().at, at(0) + chrono::Duration::milliseconds(1));
    once.remediation = "r-2";
    assert!(once.claim(&ledger, at(3600)).is_err());
    assert!(once.claim(&ledger, at(3600) + chrono::Duration::milliseconds(1)).is_ok());
}

#[test]
fn what_is_not_known_to_be_done_counts_as_if_it_were_done_now() {
    let once = |remediation, name| {
        let mut asked = Asked::of(remediation, name);
        asked.rates = rates("9/1m", "1/1m", "9/1m");
        asked
    };
    let (ledger, _) = once("r-1", "cart").claim(&LedgerSpec::default(), at(0)).unwrap();
    // Its gateway has died; another will do it, however late.
    for seconds in [60, 200, 3000] {
        let refused = once("r-2", "web").claim(&ledger, at(seconds)).unwrap_err();
        assert!(matches!(refused, ClaimRefused::RateExceeded { scope: Scope::Namespace, .. }), "{refused}");
    }
    let (ledger, taken) = once("r-1", "cart").by("b").claim(&ledger, at(200)).unwrap();
    assert!(once("r-2", "web").claim(&ledger, at(201)).is_err());
    let done = acted(&ledger, "r-1", at(205));
    assert_eq!((done.debits.len(), done.debits[0].at), (1, at(205)));
    assert!(once("r-2", "web").claim(&done, at(264)).is_err());
    assert!(once("r-2", "web").claim(&done, at(265)).is_ok());
    // It is known to the next that takes it over, too, and when it was done does not come again.
    let (again, _) = once("r-1", "cart").by("c").claim(&done, at(200 + 180)).unwrap();
    assert!(taken.epoch < again.epoch && once("r-2", "web").claim(&again, at(381)).is_ok());
    assert_eq!(acted(&again, "r-1", at(100)).debits[0].at, at(205));
    // Given back, it is nothing.
    assert!(once("r-2", "web").claim(&release(&ledger, "r-1", true), at(201)).is_ok());
    // Nobody knows whether it was done; by the time that is said it was, if so.
    let held = hold_for_person(&ledger, "r-1", at(300));
    assert!(once("r-2", "web").claim(&held, at(359)).is_err() && once("r-2", "web").claim(&held, at(360)).is_ok());
}

/// Against a plain reference that keeps everything that was ever given.
mod properties {
    use super::*;
    use proptest::prelude::*;

    const REMEDIATIONS: [&str; 8] = ["r-0", "r-1", "r-2", "r-3", "r-4", "r-5", "r-6", "r-7"];
    const HOLDERS: [&str; 2] = ["a", "b"];
    const ROOTS: [&str; 3] = ["x", "y", "z"];
    /// Each remediation has its root, as each incident has.
    fn root_of(remediation: usize) -> &'static str {
        ROOTS[remediation % ROOTS.len()]
    }

    #[derive(Debug, Clone)]
    enum Op {
        Claim { remediation: usize, holder: usize },
        Release { remediation: usize, refund: bool },
        Act { remediation: usize },
        Extend { remediation: usize },
        Hold { remediation: usize },
        Acknowledge { remediation: usize },
        Prune,
    }

    fn op() -> impl Strategy<Value = Op> {
        let remediation = || 0..REMEDIATIONS.len();
        prop_oneof![
            6 => (remediation(), 0..HOLDERS.len()).prop_map(|(remediation, holder)| Op::Claim { remediation, holder }),
            3 => (remediation(), any::<bool>()).prop_map(|(remediation, refund)| Op::Release { remediation, refund }),
            3 => remediation().prop_map(|remediation| Op::Act { remediation }),
            1 => remediation().prop_map(|remediation| Op::Extend { remediation }),
            1 => remediation().prop_map(|remediation| Op::Hold { remediation }),
            1 => remediation().prop_map(|remediation| Op::Acknowledge { remediation }),
            1 => Just(Op::Prune),
        ]
    }

    #[derive(Debug, Clone, PartialEq)]
    struct Held {
        remediation: usize,
        holder: usize,
        epoch: u64,
        until: i64,
        person: bool,
        acted: bool,
    }

    /// What was given, in seconds, without any bound.
    #[derive(Default)]
    struct Reference {
        held: std::collections::BTreeMap<&'static str, Held>,
        spent: Vec<(usize, i64)>,
        epoch: u64,
        /// Whose claims ended more than an hour ago with nothing known to be done: a proposal does not live so long.
        forgotten: BTreeSet<usize>,
    }

    struct Limits {
        target: (u32, i64),
        namespace: (u32, i64),
        cluster: (u32, i64),
        concurrent: u32,
    }

    impl Reference {
        fn has_room(&self, remediation: usize, limits: &Limits, now: i64) -> bool {
            let used = |(count, window): (u32, i64), only: &dyn Fn(usize) -> bool| {
                let under_way = |r: usize| self.held.values().any(|it| it.remediation == r && !it.person && !it.acted);
                let n = self.spent.iter().filter(|(r, at)| only(*r) && (under_way(*r) || *at > now - window)).count();
                n >= count as usize
            };
            let under_way = self.held.values().filter(|held| !held.person && held.remediation != remediation).count();
            !used(limits.target, &|r| root_of(r) == root_of(remediation))
                && !used(limits.namespace, &|_| true)
                && !used(limits.cluster, &|_| true)
                && under_way < limits.concurrent as usize
        }

        /// It was done now, as far as that was not known yet.
        fn act(&mut self, remediation: usize, now: i64) {
            for held in self.held.values_mut().filter(|held| held.remediation == remediation) {
                held.acted = true;
            }
            for spent in self.spent.iter_mut().filter(|(r, _)| *r == remediation) {
                spent.1 = spent.1.max(now);
            }
        }

        /// The epoch it would be given; none when refused.
        fn claim(&mut self, remediation: usize, holder: usize, limits: &Limits, now: i64) -> Option<u64> {
            let hold = i64::try_from(HOLD.get().as_secs()).unwrap();
            let grace = i64::try_from(GRACE.get().as_secs()).unwrap();
            let root = root_of(remediation);
            let is_kept = |held: &Held| held.person || now < held.until + 3600;
            self.forgotten.extend(self.held.values().filter(|it| !is_kept(it) && !it.acted).map(|it| it.remediation));
            self.held.retain(|_, held| is_kept(held));
            let found = self.held.get(root).cloned();
            if let Some(held) = &found {
                let is_ours = held.remediation == remediation && held.holder == holder;
                let is_another = held.remediation != remediation;
                if held.person || (!is_ours && (is_another || now < held.until + grace)) {
                    return None;
                }
                if is_ours && now < held.until {
                    let epoch = held.epoch;
                    self.held.get_mut(root)?.until = held.until.max(now + hold);
                    return Some(epoch);
                }
            }
            let acted = found.as_ref().is_some_and(|held| held.remediation == remediation && held.acted);
            let begun = found.is_some_and(|held| held.remediation == remediation)
                || self.spent.iter().any(|(r, _)| *r == remediation);
            if !begun && !self.has_room(remediation, limits, now) {
                return None;
            }
            if !self.spent.iter().any(|(r, _)| *r == remediation) {
                self.spent.push((remediation, now));
            }
            self.epoch += 1;
            let held = Held { remediation, holder, epoch: self.epoch, until: now + hold, person: false, acted };
            self.held.insert(root, held);
            Some(self.epoch)
        }
    }

    fn rate((count, window): (u32, i64)) -> BTreeSet<Rate> {
        BTreeSet::from([format!("{count}/{window}s").parse().unwrap()])
    }

    fn limits() -> impl Strategy<Value = Limits> {
        let scope = || (1_u32..4, prop_oneof![Just(60_i64), Just(300), Just(1800)]);
        (scope(), scope(), scope(), 1_u32..4).prop_map(|(target, namespace, cluster, concurrent)| Limits {
            target,
            namespace,
            cluster,
            concurrent,
        })
    }

    impl std::fmt::Debug for Limits {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{:?} {:?} {:?} {}", self.target, self.namespace, self.cluster, self.concurrent)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn the_ledger_does_as_a_plain_reference_does(
            limits in limits(),
            ops in proptest::collection::vec((op(), prop_oneof![Just(0_i64), Just(1), Just(59), Just(60), 1_i64..400]), 1..80),
        ) {
            let (mut ledger, mut reference, mut now, mut last_epoch) = (LedgerSpec::default(), Reference::default(), 0, 0);
            // All that was ever given and not refunded: nothing is forgotten here.
            for (op, wait) in ops {
                now += wait;
                match op {
                    Op::Claim { remediation, holder } => {
                        let asked = Asked {
                            remediation: REMEDIATIONS[remediation],
                            root: root(root_of(remediation)),
                            playbook: "bad-rollout",
                            holder: HOLDERS[holder],
                            rates: EffectiveRates {
                                target: rate(limits.target),
                                namespace: rate(limits.namespace),
                                playbook: BTreeSet::new(),
                                cluster: rate(limits.cluster),
                            },
                            concurrent: limit(limits.concurrent),
                        };
                        let expected = reference.claim(remediation, holder, &limits, now);
                        match asked.claim(&ledger, at(now)) {
                            Ok((next, given)) => {
                                prop_assert_eq!(Some(given.epoch), expected);
                                prop_assert_eq!(given.until, at(reference.held[root_of(remediation)].until));
                                let is_new = next.epoch > ledger.epoch;
                                prop_assert!(!is_new || given.epoch > last_epoch, "epochs rise");
                                last_epoch = last_epoch.max(given.epoch);
                                ledger = next;
                            }
                            Err(refused) => {
                                prop_assert_eq!(None, expected, "{}", refused);
                                // When it says there is room for this, there is, if nothing else comes.
                                let under_way = reference.held.values().any(|held| !held.person && !held.acted);
                                if let ClaimRefused::RateExceeded { scope, rate, until, .. } = refused
                                    && !under_way
                                {
                                    prop_assert!(until > at(now));
                                    let then = asked.claim(&ledger, until);
                                    let same = matches!(then, Err(ClaimRefused::RateExceeded { scope: s, rate: r, .. }) if (s, r) == (scope, rate));
                                    prop_assert!(!same);
                                }
                            }
                        }
                    }
                    Op::Release { remediation, refund } => {
                        let name = REMEDIATIONS[remediation];
                        ledger = release(&ledger, name, refund);
                        let for_person = reference.held.values().any(|held| held.remediation == remediation && held.person);
                        if !for_person && !refund {
                            reference.forgotten.insert(remediation);
                        }
                        if !for_person {
                            reference.held.retain(|_, held| held.remediation != remediation);
                            if refund {
                                reference.spent.retain(|(r, _)| *r != remediation);
                            }
                        }
                    }
                    // Once, and by whoever holds it: what was released is over.
                    Op::Act { remediation } => {
                        let may = |held: &Held| held.remediation == remediation && !held.acted && !held.person;
                        if reference.held.values().any(may) && !reference.forgotten.contains(&remediation) {
                            ledger = acted(&prune(&ledger, at(now)), REMEDIATIONS[remediation], at(now));
                            reference.act(remediation, now);
                        }
                    }
                    Op::Extend { remediation } => {
                        let held = reference.held.values_mut().find(|held| held.remediation == remediation);
                        let epoch = held.as_ref().map_or(0, |held| held.epoch);
                        let extended = extend(&ledger, REMEDIATIONS[remediation], epoch, HOLD, at(now));
                        match held.filter(|held| held.person || now < held.until) {
                            Some(held) => {
                                held.until = held.until.max(now + 120);
                                ledger = extended.unwrap().0;
                            }
                            None => prop_assert!(extended.is_err()),
                        }
                    }
                    Op::Hold { remediation } => {
                        ledger = hold_for_person(&ledger, REMEDIATIONS[remediation], at(now));
                        if reference.held.values().any(|held| held.remediation == remediation && !held.acted) {
                            reference.act(remediation, now);
                        }
                        for held in reference.held.values_mut().filter(|held| held.remediation == remediation) {
                            (held.person, held.until) = (true, (HELD_FOR_PERSON - at(0)).num_seconds());
                        }
                    }
                    Op::Acknowledge { remediation } => {
                        ledger = acknowledge(&ledger, REMEDIATIONS[remediation]);
                        reference.held.retain(|_, held| held.remediation != remediation || !held.person);
                    }
                    Op::Prune => ledger = prune(&ledger, at(now)),
                }
                // Exact windows: whatever time as long as the window is looked at, however it lies; also when all that is
                // under way is done only now.
                let mut reference_spent = reference.spent.clone();
                for (remediation, at) in &mut reference_spent {
                    let is_it = |held: &Held| held.remediation == *remediation && !held.acted && !held.person;
                    if reference.held.values().any(is_it) {
                        *at = now;
                    }
                }
                // One that was forgotten or released and claimed anew does not come in practice.
                if !reference.forgotten.is_empty() {
                    reference_spent.clear();
                }
                for (count, window) in [limits.namespace, limits.cluster] {
                    for (_, end) in &reference_spent {
                        let n = reference_spent.iter().filter(|(_, at)| *at <= *end && *at > end - window).count();
                        prop_assert!(n <= count as usize);
                    }
                }
                // One debit a remediation, in order of time.
                let mut debited: Vec<_> = ledger.debits.iter().map(|debit| debit.remediation.as_str()).collect();
                prop_assert!(ledger.debits.is_sorted_by_key(|debit| debit.at));
                debited.sort_unstable();
                let all = debited.len();
                debited.dedup();
                prop_assert_eq!(all, debited.len());
                prop_assert_eq!(ledger.debits.len(), reference.spent.len());
            }
        }
    }
}
