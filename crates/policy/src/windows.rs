//! Whether a moment lies inside a policy's windows, and when the next one does.
//!
//! A moment is put onto the clocks of the policy's time zone, so that "is it open now" is exact on
//! days on which clocks are changed: an hour that comes twice is open twice, one that is left out
//! is open never. The way back, from a clock to a moment, is needed for the next opening only.

use chrono::{
    DateTime, Datelike as _, Days, Duration, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Timelike, Utc,
};
use chrono_tz::Tz;
use evenkeel_model::{Day, FrozenDays, Hours, Windows};

/// Openings are looked for across so many hours and freezes.
const MAX_HOPS: usize = 256;

/// Why nothing may be begun now, and from when on it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed<'a> {
    /// A freeze holds.
    Frozen { days: &'a FrozenDays, until: Option<DateTime<Utc>> },
    /// It is outside all hours.
    Hours { until: Option<DateTime<Utc>> },
    /// The windows say nothing that makes sense.
    Faulty(&'static str),
}

/// Why the windows are closed at a moment, if they are.
pub(crate) fn closed(windows: &Windows, now: DateTime<Utc>) -> Option<Closed<'_>> {
    if let Some(fault) = fault(windows) {
        return Some(Closed::Faulty(fault));
    }
    if windows.freeze.is_empty() && windows.allow.iter().any(is_always) {
        return None;
    }
    let clock = now.with_timezone(&windows.time_zone.tz()).naive_local();
    match frozen(windows, clock.date()) {
        Some(days) => Some(Closed::Frozen { days, until: opening(windows, now) }),
        None if is_open(windows, clock) => None,
        None => Some(Closed::Hours { until: opening(windows, now) }),
    }
}

/// What would make a freeze never hold, which nobody means.
pub(crate) fn fault(windows: &Windows) -> Option<&'static str> {
    let reversed = windows.freeze.iter().any(|days| days.from > days.to);
    reversed.then_some("a freeze ends before it begins")
}

/// Whether hours ever hold: they have days, and do not end where they begin.
pub(crate) fn ever_hold(hours: &Hours) -> bool {
    let minute_of_day = |time: evenkeel_model::TimeOfDay| time.minutes() % (24 * 60);
    !hours.days.is_empty() && (is_whole_day(hours) || minute_of_day(hours.from) != minute_of_day(hours.to))
}

fn is_whole_day(hours: &Hours) -> bool {
    !hours.days.is_empty() && hours.from.minutes() == 0 && hours.to.minutes() == 24 * 60
}

fn is_always(hours: &Hours) -> bool {
    hours.days.contains(&Day::All) && is_whole_day(hours)
}

fn frozen(windows: &Windows, date: NaiveDate) -> Option<&FrozenDays> {
    windows.freeze.iter().find(|days| (days.from..=days.to).contains(&date))
}

fn is_open(windows: &Windows, clock: NaiveDateTime) -> bool {
    let minute = clock.hour() * 60 + clock.minute();
    let today = clock.weekday();
    windows.allow.iter().any(|hours| {
        let (from, to) = (hours.from.minutes(), hours.to.minutes());
        let on = |weekday| hours.days.iter().any(|day| day.holds(weekday));
        if from < to {
            on(today) && (from..to).contains(&minute)
        } else {
            // Past midnight: the evening is today's, the morning yesterday's.
            from > to && ((on(today) && minute >= from) || (on(today.pred()) && minute < to))
        }
    })
}

/// The first moment after `now` that is inside; `None` when there is none for years.
fn opening(windows: &Windows, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let zone = windows.time_zone.tz();
    let mut at = now;
    for _ in 0..MAX_HOPS {
        let clock = at.with_timezone(&zone).naive_local();
        at = match frozen(windows, clock.date()) {
            Some(days) => *moments(zone, days.to.succ_opt()?.and_time(NaiveTime::MIN)).iter().find(|it| **it > at)?,
            None if is_open(windows, clock) => return Some(at),
            None => next_start(windows, zone, at)?,
        };
    }
    None
}

/// The next time hours begin: within eight days, however clocks are changed.
fn next_start(windows: &Windows, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let today = after.with_timezone(&zone).date_naive();
    // From yesterday on: what began then may end, and begin again, today.
    let first = today.pred_opt()?;
    let days = (0..=9).filter_map(|n| first.checked_add_days(Days::new(n)));
    let starts = days.flat_map(|date| {
        let begin = windows.allow.iter().filter(move |hours| hours.days.iter().any(|day| day.holds(date.weekday())));
        begin.flat_map(move |hours| {
            let on_clock = |minutes: u32| date.and_time(NaiveTime::MIN) + Duration::minutes(minutes.into());
            let (from, to) = (hours.from.minutes(), hours.to.minutes());
            let end = on_clock(if from < to { to } else { to + 24 * 60 });
            let mut starts = moments(zone, on_clock(from));
            starts.extend(put_back_before(zone, end));
            starts
        })
    });
    // What begins in an hour that is left out has begun when the clocks go on, unless it is over by then.
    starts.filter(|at| *at > after && is_open(windows, at.with_timezone(&zone).naive_local())).min()
}

/// The moment clocks are put back to a time before `end` that they have shown already: what ended at
/// `end` begins again.
fn put_back_before(zone: Tz, end: NaiveDateTime) -> Option<DateTime<Utc>> {
    let twice = |clock: NaiveDateTime| match moments(zone, clock).as_slice() {
        [_, second] => Some(*second),
        _ => None,
    };
    (1..=24 * 60).map_while(|minutes| twice(end - Duration::minutes(minutes))).last()
}

/// The moments at which clocks show that time: two where they are put back; where it is left out, the
/// moment they go on from.
fn moments(zone: Tz, clock: NaiveDateTime) -> Vec<DateTime<Utc>> {
    use chrono::offset::LocalResult;
    // No place has left out more than a day.
    (0..=24 * 60)
        .find_map(|minutes| match zone.from_local_datetime(&(clock + Duration::minutes(minutes))) {
            LocalResult::None => None,
            LocalResult::Single(at) => Some(vec![at.to_utc()]),
            LocalResult::Ambiguous(first, second) => Some(vec![first.to_utc(), second.to_utc()]),
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
