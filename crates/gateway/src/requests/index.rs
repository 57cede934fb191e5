//! Requests as last heard of: a plain structure that is told what the watch and our own writes say. It says what is
//! answered next, and what need not be kept.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{Answer, Ask, Request};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;

use crate::breakers::ALL;

/// At most so many are held, whoever makes them; the rest is listed once there is room.
const MOST_HELD: usize = 10_000;
/// At most so many of one person wait for an answer; what comes on top is refused.
pub(crate) const MOST_OPEN: usize = 100;
/// Answered requests are kept for so long at most; breakers count by those that close them.
const KEEP: Duration = Duration::days(8);
/// Answered requests beyond so many go earlier, the oldest first; but not what breakers count by.
const KEEP_AT_MOST: usize = 1000;
/// What nobody could answer in so long goes unanswered: whoever asked waits no more.
const ANSWERED_WITHIN: Duration = Duration::hours(1);
/// What is not understood goes after so long: gateways of two versions are there together only for a while.
const UNDERSTOOD_WITHIN: Duration = Duration::days(1);

/// The very object that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

#[derive(Debug, Default)]
struct Held {
    all: BTreeMap<String, Request>,
    /// Not understood: left alone, with when they were made.
    aside: BTreeMap<String, (Seen, DateTime<Utc>)>,
}

/// Requests by name.
#[derive(Debug, Default)]
pub(crate) struct RequestIndex {
    held: Held,
    /// While the watch lists anew: what it has named so far.
    listing: Option<Held>,
    /// There were more than are held.
    overflowed: bool,
}

impl RequestIndex {
    /// The watch begins to list.
    pub(crate) fn begin_list(&mut self) {
        self.listing = Some(Held::default());
        self.overflowed = false;
    }

    /// The watch has listed everything.
    pub(crate) fn end_list(&mut self) {
        if let Some(listed) = self.listing.take() {
            self.held = listed;
        }
    }

    /// Takes one in. False when there is no room for it.
    pub(crate) fn apply(&mut self, request: Request) -> bool {
        let (name, request) = (request.name_any(), lean(request));
        // While the watch lists, what it has not come to is still gone by.
        if self.listing.is_some() && self.held.all.contains_key(&name) {
            self.held.all.insert(name.clone(), request.clone());
        }
        let Some(held) = self.room_for(&name) else { return false };
        held.aside.remove(&name);
        held.all.insert(name, request);
        true
    }

    /// Takes in one that is not understood. False when there is no room for it.
    pub(crate) fn set_aside(&mut self, seen: Seen, made_at: DateTime<Utc>) -> bool {
        let Some(held) = self.room_for(&seen.name) else { return false };
        held.all.remove(&seen.name);
        held.aside.insert(seen.name.clone(), (seen, made_at));
        true
    }

    fn room_for(&mut self, name: &str) -> Option<&mut Held> {
        let held = self.listing.as_mut().unwrap_or(&mut self.held);
        let has_room = held.all.len() + held.aside.len() < MOST_HELD;
        if has_room || held.all.contains_key(name) || held.aside.contains_key(name) {
            return Some(held);
        }
        self.overflowed = true;
        None
    }

    /// It is gone.
    pub(crate) fn remove(&mut self, name: &str) {
        self.held.all.remove(name);
        self.held.aside.remove(name);
    }

    /// All that are understood.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Request> {
        self.held.all.values()
    }

    /// Whether it has no answer yet.
    pub(crate) fn is_open(&self, name: &str) -> bool {
        self.held.all.get(name).is_some_and(|request| request.status.is_none())
    }

    /// Those without an answer.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Request> {
        self.iter().filter(|request| request.status.is_none())
    }

    /// The next to be answered, but for those that `waits` names: of each person the oldest first, so that nobody
    /// waits behind another's crowd. As many again of what is beyond one person's bound, which takes no time.
    pub(crate) fn next(&self, many: usize, waits: impl Fn(&str) -> bool) -> Vec<Request> {
        let mut open: Vec<&Request> = self.open().collect();
        open.sort_by_cached_key(|request| place(request));
        let mut ranks: BTreeMap<&str, usize> = BTreeMap::new();
        let mut ranked: Vec<(usize, &Request)> = Vec::new();
        for request in open {
            let rank = ranks.entry(request.spec.by.as_str()).or_default();
            ranked.push((*rank, request));
            *rank += 1;
        }
        ranked.retain(|(_, request)| !waits(&request.name_any()));
        // Stable: of one rank the oldest first.
        ranked.sort_by_key(|(rank, _)| *rank);
        let beyond = ranked.iter().filter(|(rank, _)| *rank >= MOST_OPEN).take(many);
        let within = ranked.iter().filter(|(rank, _)| *rank < MOST_OPEN).take(many);
        within.chain(beyond).map(|(_, request)| (*request).clone()).collect()
    }

    /// Whether as many of the same person as may wait, wait before it.
    pub(crate) fn is_beyond(&self, request: &Request) -> bool {
        let before = |other: &&Request| other.spec.by == request.spec.by && place(other) < place(request);
        self.open().filter(before).count() >= MOST_OPEN
    }

    /// Those that need not be kept.
    pub(crate) fn expendable(&self, now: DateTime<Utc>) -> Vec<Seen> {
        let mut answered: Vec<(DateTime<Utc>, &Request)> =
            self.iter().filter_map(|request| Some((request.status.as_ref()?.at, request))).collect();
        answered.sort_by_key(|(at, request)| (*at, request.name_any()));
        let matters = Closing::of(answered.iter().copied());
        let beyond = answered.len().saturating_sub(KEEP_AT_MOST);
        let old = answered.iter().enumerate().filter(|(place, (at, request))| {
            now.signed_duration_since(*at) > KEEP || (*place < beyond && !matters.counts(*at, request))
        });
        let unanswered = self.open().filter(|it| made_at(it).is_some_and(|at| now - at > ANSWERED_WITHIN));
        let aside = self.held.aside.values().filter(|(_, at)| now - *at > UNDERSTOOD_WITHIN);
        let of_requests = old.map(|(_, (_, request))| *request).chain(unanswered).map(seen);
        of_requests.chain(aside.map(|(seen, _)| seen.clone())).collect()
    }

    /// Whether there is enough to be tidied that it should not wait for its time.
    pub(crate) fn is_crowded(&self) -> bool {
        self.held.all.len() + self.held.aside.len() > KEEP_AT_MOST * 2
    }

    /// Whether some were left out for which there is room now. Said once; they have to be listed.
    pub(crate) fn wants_list(&mut self) -> bool {
        let has_room = self.held.all.len() + self.held.aside.len() <= MOST_HELD / 2;
        // Not while it is listing: it may not have come to the end of what there is.
        has_room && self.listing.is_none() && std::mem::take(&mut self.overflowed)
    }
}

/// What closed each breaker last: whatever did before is of no account.
struct Closing<'a>(BTreeMap<&'a str, DateTime<Utc>>);

impl<'a> Closing<'a> {
    /// Of answered requests, oldest first.
    fn of(answered: impl Iterator<Item = (DateTime<Utc>, &'a Request)>) -> Self {
        let mut last = BTreeMap::new();
        for (at, request) in answered {
            for playbook in closes(request) {
                last.insert(playbook.as_str(), at);
            }
        }
        Self(last)
    }

    /// Whether breakers count by it.
    fn counts(&self, at: DateTime<Utc>, request: &Request) -> bool {
        let last = |playbook: &str| self.0.get(playbook).copied();
        closes(request).iter().any(|playbook| last(playbook) == Some(at) && last(ALL).is_none_or(|all| all <= at))
    }
}

/// The playbooks whose breakers it has closed.
fn closes(request: &Request) -> &[String] {
    let done = request.status.as_ref().is_some_and(|status| status.answer == Answer::Done);
    match &request.spec.ask {
        Ask::Rearm(rearm) if done => &rearm.playbooks,
        _ => &[],
    }
}

/// When the API server took it, in its own time and to the second.
pub(crate) fn made_at(request: &Request) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(request.creation_timestamp()?.0.as_second(), 0)
}

fn place(request: &Request) -> (Option<DateTime<Utc>>, String) {
    (made_at(request), request.name_any())
}

fn seen(request: &Request) -> Seen {
    Seen { name: request.name_any(), uid: request.uid(), resource_version: request.resource_version() }
}

/// Without what others may write into its metadata, at any length.
fn lean(mut request: Request) -> Request {
    let metadata = std::mem::take(&mut request.metadata);
    request.metadata = ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        creation_timestamp: metadata.creation_timestamp,
        ..ObjectMeta::default()
    };
    request
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{OfRemediation, Rearm, RequestSpec, RequestStatus};

    use super::*;
    use crate::testing::at;

    fn request(name: &str, by: &str, seconds: i64, ask: Ask) -> Request {
        let mut request = Request::new(name, RequestSpec { ask, by: by.to_owned(), reason: "x".to_owned() });
        let made = k8s_openapi::jiff::Timestamp::from_second(at(seconds).timestamp()).unwrap();
        request.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(made));
        request.metadata.annotations = Some([("note".to_owned(), "x".repeat(1000))].into());
        request
    }

    fn cancel() -> Ask {
        Ask::Cancel(OfRemediation { remediation: "r-1".to_owned() })
    }

    fn rearm(playbooks: &[&str]) -> Ask {
        Ask::Rearm(Rearm { playbooks: playbooks.iter().map(|it| (*it).to_owned()).collect() })
    }

    fn answered(mut request: Request, seconds: i64) -> Request {
        request.status =
            Some(RequestStatus { answer: Answer::Done, reason: String::new(), at: at(seconds), remediation: None });
        request
    }

    fn index(all: impl IntoIterator<Item = Request>) -> RequestIndex {
        let mut index = RequestIndex::default();
        for request in all {
            assert!(index.apply(request));
        }
        index
    }

    fn names(found: &[Request]) -> Vec<String> {
        found.iter().map(|it| it.name_any()).collect()
    }

    fn gone(index: &RequestIndex, seconds: i64) -> Vec<String> {
        index.expendable(at(seconds)).into_iter().map(|it| it.name).collect()
    }

    #[test]
    fn nobody_waits_behind_another_s_crowd() {
        let crowd = (0..500).map(|n| request(&format!("m-{n:03}"), "mallory", n, cancel()));
        let index = index(crowd.chain([request("j-1", "jane", 900, cancel()), request("j-2", "jane", 901, cancel())]));
        let next = names(&index.next(4, |_| false));
        assert_eq!(next[..4], ["m-000", "j-1", "m-001", "j-2"]);
        assert_eq!(next[4..], ["m-100", "m-101", "m-102", "m-103"], "beyond what may wait");
        assert_eq!(names(&index.next(1, |name| name == "m-000"))[0], "j-1", "what is tried later holds nobody up");
    }

    #[test]
    fn so_many_of_one_person_wait_and_no_more() {
        let crowd: Vec<Request> = (0..150).map(|n| request(&format!("m-{n:03}"), "mallory", 0, cancel())).collect();
        let index = index(crowd.clone());
        assert_eq!(crowd.iter().filter(|it| index.is_beyond(it)).count(), 150 - MOST_OPEN);
        assert!(!index.is_beyond(&request("j-1", "jane", 5, cancel())));
    }

    #[test]
    fn what_is_over_the_bound_goes_however_much_it_is() {
        let mut index = index((0..3000).map(|n| answered(request(&format!("q-{n:04}"), "m", n, cancel()), n)));
        let gone = gone(&index, 3000);
        assert_eq!((gone.len(), gone[0].as_str(), gone[1999].as_str()), (2000, "q-0000", "q-1999"));
        assert!(index.is_crowded());
        gone.iter().for_each(|name| index.remove(name));
        assert!(!index.is_crowded() && super::tests::gone(&index, 3000).is_empty());
    }

    #[test]
    fn of_what_closes_a_breaker_the_last_is_kept() {
        let day = 24 * 3600;
        let crowd = (0..1500).map(|n| answered(request(&format!("m-{n:04}"), "m", n, rearm(&["a", "b"])), n));
        let first = answered(request("first", "jane", -9, rearm(&["c"])), -9);
        let index = index(crowd.chain([first]));
        let gone_now = gone(&index, 3600);
        assert_eq!(gone_now.len(), 500, "the last 1,000, and what alone closes the breaker of c");
        assert!(!gone_now.contains(&"first".to_owned()) && gone_now.contains(&"m-0000".to_owned()));
        assert_eq!(gone(&index, 9 * day).len(), 1501, "no window is as long");
    }

    #[test]
    fn what_closes_all_breakers_leaves_what_came_before_without_account() {
        let mut all: Vec<Request> = (0..1100)
            .map(|n| answered(request(&format!("m-{n:04}"), "m", n, rearm(&[&format!("p-{n}")])), n))
            .collect();
        assert!(gone(&index(all.clone()), 3600).is_empty(), "each counts");
        all.push(answered(request("all", "jane", 2000, rearm(&[ALL])), 2000));
        assert_eq!(gone(&index(all), 3600).len(), 101);
    }

    #[test]
    fn what_nobody_answers_or_understands_does_not_stay() {
        let mut index = index([request("q-1", "jane", 0, cancel())]);
        let seen = Seen { name: "odd".to_owned(), uid: Some("u".to_owned()), resource_version: Some("1".to_owned()) };
        index.set_aside(seen, at(0));
        assert!(gone(&index, 3600).is_empty());
        assert_eq!(gone(&index, 3601), ["q-1"]);
        assert_eq!(gone(&index, 24 * 3600 + 1), ["q-1", "odd"]);
    }

    #[test]
    fn what_there_is_no_room_for_is_listed_once_there_is() {
        let mut index = index((0..MOST_HELD).map(|n| request(&format!("q-{n:05}"), "m", 0, cancel())));
        assert!(!index.apply(request("z", "jane", 1, cancel())));
        assert!(index.apply(request("q-00000", "m", 0, cancel())), "what is held is held");
        assert!(!index.wants_list(), "there is no room yet");
        (0..MOST_HELD / 2).for_each(|n| index.remove(&format!("q-{n:05}")));
        assert!(index.wants_list());
        assert!(!index.wants_list(), "once");
        index.begin_list();
        assert!(index.apply(request("z", "jane", 1, cancel())));
        assert_eq!(index.open().count(), MOST_HELD / 2, "until it is listed whole");
        for n in 0..=MOST_HELD {
            index.apply(request(&format!("y-{n:05}"), "m", 0, cancel()));
        }
        assert!(!index.wants_list(), "it would begin again and again");
        index.begin_list();
        assert!(index.apply(request("z", "jane", 1, cancel())));
        index.end_list();
        assert_eq!(index.open().map(|it| it.name_any()).collect::<Vec<_>>(), ["z"]);
        assert!(index.iter().all(|it| it.metadata.annotations.is_none()), "what may be of any length is not held");
    }
}
