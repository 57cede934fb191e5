//! Random trouble for the engine, from the seed.

use evenkeel_model::Span;

use crate::file::{ApiTrouble, BusTrouble, ClockSkew, Event, Kill, Nats, On, Plane, Reply, Watches};

/// How many troubles a run gets at most, but for watches that end.
const MOST: usize = 8;

/// A clock is off by so many seconds at most, either way.
pub(crate) const SKEW: i64 = 8;

/// The end is moved by so much, so that the engine has time to recover.
pub(crate) const LONGER: Span = Span::minutes(30);

/// Troubles between the start and the scenario's end, in order of time. All of them end.
pub(crate) fn draw(seed: u64, until: Span) -> Vec<Event> {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x0066_6175_6c74);
    let mut events = Vec::new();
    for _ in 0..random.usize(1..=MOST) {
        let at = random.u64(..until.get().as_secs().max(1));
        events.extend(trouble(&mut random, at));
    }
    if random.u8(..4) == 0 {
        let at = Span::seconds(random.u64(..until.get().as_secs().max(1)));
        let watches = Some(if random.bool() { Watches::Gone } else { Watches::Cut });
        events.push(Event { at, by: Some("chaos".to_owned()), watches, ..Event::default() });
    }
    events.sort_by_key(|event| event.at);
    events
}

fn trouble(random: &mut fastrand::Rng, at: u64) -> Vec<Event> {
    let event = || Event { at: Span::seconds(at), by: Some("chaos".to_owned()), ..Event::default() };
    let later = |seconds: u64| Event { at: Span::seconds(at + seconds), ..event() };
    let planes = [Plane::Observer, Plane::Reasoner, Plane::Gateway];
    let plane = planes.get(random.usize(..planes.len())).copied().unwrap_or(Plane::Gateway);
    match random.u8(..6) {
        0 | 1 => {
            let moments = match plane {
                Plane::Observer => vec![On::Now, On::BeforePublish, On::AfterPublish],
                Plane::Reasoner => vec![On::Now, On::BeforePublish, On::AfterPublish, On::AfterRecord],
                Plane::Gateway => vec![
                    On::Now,
                    On::BeforeSend,
                    On::AfterAct,
                    On::LoseReply,
                    On::AfterRecord,
                    On::BeforePublish,
                    On::AfterPublish,
                ],
            };
            let on = moments.get(random.usize(..moments.len())).copied().unwrap_or_default();
            vec![Event { kill: Some(Kill { plane, on, number: None }), ..event() }]
        }
        2 => {
            let lasts = random.u64(1..120);
            vec![Event { nats: Some(Nats::Away), ..event() }, Event { nats: Some(Nats::Back), ..later(lasts) }]
        }
        3 => {
            let bad = BusTrouble {
                duplicate: random.u8(..40),
                late: random.u8(..40),
                by: Some(Span::seconds(random.u64(1..20))),
                reorder: random.u8(..60),
                redeliver: random.u8(..40),
                lose_answer: random.u8(..20),
            };
            let lasts = random.u64(30..600);
            vec![Event { bus: Some(bad), ..event() }, Event { bus: Some(BusTrouble::default()), ..later(lasts) }]
        }
        4 => {
            let replies = [
                Reply::TimeoutAfterCommit,
                Reply::TimeoutBeforeCommit,
                Reply::ResetAfterCommit,
                Reply::ResetBeforeCommit,
                Reply::TooManyRequests,
                Reply::InternalError,
                Reply::Unavailable,
                Reply::Conflict,
            ];
            let reply = replies.get(random.usize(..replies.len())).copied().unwrap_or(Reply::Unavailable);
            let verbs = ["GET", "PATCH", "POST", "PUT", "DELETE"];
            let verb = verbs.get(random.usize(..verbs.len())).map(|verb| (*verb).to_owned());
            let trouble = ApiTrouble { verb, object: None, times: random.u32(1..4), reply, by: None };
            vec![Event { api: Some(trouble), ..event() }]
        }
        _ => {
            let seconds = random.i64(-SKEW..=SKEW);
            let lasts = random.u64(30..600);
            let right = ClockSkew { plane, seconds: 0 };
            vec![
                Event { clock: Some(ClockSkew { plane, seconds }), ..event() },
                Event { clock: Some(right), ..later(lasts) },
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_trouble_and_all_of_it_has_a_meaning() {
        for seed in 0..200 {
            let drawn = draw(seed, Span::minutes(40));
            assert_eq!(format!("{drawn:?}"), format!("{:?}", draw(seed, Span::minutes(40))));
            assert!(drawn.iter().all(|event| event.what().len() == 1));
        }
    }
}
