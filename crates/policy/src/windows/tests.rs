use serde_json::json;

use super::*;

fn windows(zone: &str, allow: serde_json::Value, freeze: serde_json::Value) -> Windows {
    serde_json::from_value(json!({"timeZone": zone, "allow": allow, "freeze": freeze})).unwrap()
}

fn daily(zone: &str, from: &str, to: &str) -> Windows {
    windows(zone, json!([{"days": ["*"], "from": from, "to": to}]), json!([]))
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// `open`, or from when on it is.
fn said(windows: &Windows, moment: &str) -> String {
    let until = |until: Option<DateTime<Utc>>| until.map_or("never".to_owned(), |it| it.format("%FT%RZ").to_string());
    match closed(windows, at(moment)) {
        None => "open".to_owned(),
        Some(Closed::Hours { until: it }) => until(it),
        Some(Closed::Frozen { days, until: it }) => format!("{}: {}", days.reason, until(it)),
        Some(Closed::Faulty(fault)) => fault.to_owned(),
    }
}

#[test]
fn hours_begin_with_their_first_minute_and_end_before_their_last() {
    let office = windows(
        "Europe/Berlin",
        json!([{"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "09:00", "to": "17:00"}]),
        json!([]),
    );
    // 2026-01-05 is a Monday; Berlin is an hour ahead.
    for (moment, expected) in [
        ("2026-01-05T07:59:59Z", "2026-01-05T08:00Z"),
        ("2026-01-05T08:00:00Z", "open"),
        ("2026-01-05T15:59:59Z", "open"),
        ("2026-01-05T16:00:00Z", "2026-01-06T08:00Z"),
        ("2026-01-09T16:00:00Z", "2026-01-12T08:00Z"),
        ("2026-07-06T07:00:00Z", "open"),
    ] {
        assert_eq!(said(&office, moment), expected, "{moment}");
    }
}

#[test]
fn hours_past_midnight_belong_to_the_day_on_which_they_begin() {
    let night = windows("UTC", json!([{"days": ["Fri"], "from": "22:00", "to": "06:00"}]), json!([]));
    for (moment, expected) in [
        ("2026-01-09T21:59:00Z", "2026-01-09T22:00Z"),
        ("2026-01-09T22:00:00Z", "open"),
        ("2026-01-10T05:59:59Z", "open"),
        ("2026-01-10T06:00:00Z", "2026-01-16T22:00Z"),
        ("2026-01-09T05:00:00Z", "2026-01-09T22:00Z"),
    ] {
        assert_eq!(said(&night, moment), expected, "{moment}");
    }
}

#[test]
fn an_hour_that_is_left_out_is_open_never_and_one_that_comes_twice_is_open_twice() {
    // Clocks go on from 02:00 to 03:00 on 2026-03-29 at 01:00 UTC, and back from 03:00 to 02:00 on 2026-10-25.
    let berlin = daily("Europe/Berlin", "02:15", "02:45");
    for (moment, expected) in [
        ("2026-03-28T01:20:00Z", "open"),
        ("2026-03-29T00:59:00Z", "2026-03-30T00:15Z"),
        ("2026-03-29T01:20:00Z", "2026-03-30T00:15Z"),
        ("2026-10-25T00:14:59Z", "2026-10-25T00:15Z"),
        ("2026-10-25T00:15:00Z", "open"),
        ("2026-10-25T00:45:00Z", "2026-10-25T01:15Z"),
        ("2026-10-25T01:15:00Z", "open"),
        ("2026-10-25T01:45:00Z", "2026-10-26T01:15Z"),
    ] {
        assert_eq!(said(&berlin, moment), expected, "{moment}");
    }
    // What begins in the hour that is left out has begun when clocks go on.
    assert_eq!(said(&daily("Europe/Berlin", "02:30", "05:00"), "2026-03-29T00:30:00Z"), "2026-03-29T01:00Z");
    // What ended in the hour that comes twice begins again when clocks go back.
    assert_eq!(said(&daily("Europe/Berlin", "01:00", "02:30"), "2026-10-25T00:30:00Z"), "2026-10-25T01:00Z");
    assert_eq!(said(&daily("Europe/Berlin", "01:00", "02:30"), "2026-10-25T01:29:59Z"), "open");
}

#[test]
fn in_the_south_clocks_are_changed_the_other_way_round() {
    // Sydney goes on on 2026-10-04 at 02:00 (16:00 UTC the day before), and back on 2026-04-05 at 03:00.
    let sydney = daily("Australia/Sydney", "02:15", "02:45");
    for (moment, expected) in [
        ("2026-10-03T15:59:00Z", "2026-10-04T15:15Z"),
        ("2026-10-03T16:20:00Z", "2026-10-04T15:15Z"),
        ("2026-04-04T15:15:00Z", "open"),
        ("2026-04-04T15:45:00Z", "2026-04-04T16:15Z"),
        ("2026-04-04T16:15:00Z", "open"),
        ("2026-04-04T16:45:00Z", "2026-04-05T16:15Z"),
    ] {
        assert_eq!(said(&sydney, moment), expected, "{moment}");
    }
    // Lord Howe Island changes by half an hour: on from 02:00 to 02:30 on 2026-10-04 (15:30 UTC the day before).
    let howe = daily("Australia/Lord_Howe", "02:00", "02:40");
    assert_eq!(said(&howe, "2026-10-03T15:29:00Z"), "2026-10-03T15:30Z");
    assert_eq!(said(&howe, "2026-10-03T15:30:00Z"), "open");
    assert_eq!(said(&howe, "2026-10-03T15:40:00Z"), "2026-10-04T15:00Z");
    // Santiago goes on at midnight: 2026-09-06 begins at 01:00 (04:00 UTC).
    let santiago = daily("America/Santiago", "00:00", "02:00");
    assert_eq!(said(&santiago, "2026-09-06T03:59:00Z"), "2026-09-06T04:00Z");
    assert_eq!(said(&santiago, "2026-09-06T04:59:00Z"), "open");
    assert_eq!(said(&santiago, "2026-09-06T05:00:00Z"), "2026-09-07T03:00Z");
}

#[test]
fn a_freeze_holds_from_the_midnight_of_its_first_day_to_that_after_its_last() {
    let always = json!([{"days": ["*"], "from": "00:00", "to": "24:00"}]);
    let peak = json!([{"from": "2026-12-20", "to": "2027-01-03", "reason": "peak season"}]);
    let berlin = windows("Europe/Berlin", always.clone(), peak.clone());
    for (moment, expected) in [
        ("2026-12-19T22:59:59Z", "open"),
        ("2026-12-19T23:00:00Z", "peak season: 2027-01-03T23:00Z"),
        ("2027-01-03T22:59:59Z", "peak season: 2027-01-03T23:00Z"),
        ("2027-01-03T23:00:00Z", "open"),
    ] {
        assert_eq!(said(&berlin, moment), expected, "{moment}");
    }
    let auckland = windows("Pacific/Auckland", always.clone(), peak);
    assert_eq!(said(&auckland, "2026-12-19T11:00:00Z"), "peak season: 2027-01-03T11:00Z");
    // A freeze of the day on which clocks change is as long as that day.
    let day = |date: &str| json!([{"from": date, "to": date, "reason": "clocks"}]);
    let spring = windows("Europe/Berlin", always.clone(), day("2026-03-29"));
    assert_eq!(said(&spring, "2026-03-28T23:00:00Z"), "clocks: 2026-03-29T22:00Z");
    let autumn = windows("Europe/Berlin", always.clone(), day("2026-10-25"));
    assert_eq!(said(&autumn, "2026-10-24T22:00:00Z"), "clocks: 2026-10-25T23:00Z");
    // The day after begins at 01:00, since clocks go on at midnight.
    let santiago = windows("America/Santiago", always, day("2026-09-05"));
    assert_eq!(said(&santiago, "2026-09-06T03:59:00Z"), "clocks: 2026-09-06T04:00Z");
}

#[test]
fn the_next_opening_minds_hours_and_freezes_together() {
    let both = windows(
        "America/New_York",
        json!([{"days": ["Sat"], "from": "10:00", "to": "12:00"}]),
        json!([{"from": "2026-01-10", "to": "2026-01-17", "reason": "audit"}, {"from": "2026-01-24", "to": "2026-01-24", "reason": "fair"}]),
    );
    assert_eq!(said(&both, "2026-01-09T00:00:00Z"), "2026-01-31T15:00Z");
    assert_eq!(said(&both, "2026-01-12T00:00:00Z"), "audit: 2026-01-31T15:00Z");
}

#[test]
fn what_never_opens_and_what_makes_no_sense_is_closed() {
    assert_eq!(said(&windows("UTC", json!([]), json!([])), "2026-01-05T00:00:00Z"), "never");
    assert_eq!(said(&daily("UTC", "08:00", "08:00"), "2026-01-05T08:00:00Z"), "never");
    let reversed = windows(
        "UTC",
        json!([{"days": ["*"], "from": "00:00", "to": "24:00"}]),
        json!([{"from": "2027-01-03", "to": "2026-12-20", "reason": "peak season"}]),
    );
    assert_eq!(said(&reversed, "2026-01-05T00:00:00Z"), "a freeze ends before it begins");
}

#[test]
fn nobodys_clock_opens_it_earlier_than_it_says() {
    // Every quarter of an hour of ten days around each change of clocks, in zones that change their clocks by an hour, by half an hour, at midnight.
    for zone in ["Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca"] {
        for windows in [daily(zone, "01:00", "02:30"), daily(zone, "23:30", "00:45")] {
            for change in
                ["2026-02-15", "2026-03-22", "2026-03-29", "2026-04-05", "2026-09-06", "2026-10-04", "2026-10-25"]
            {
                let mut expected: Option<DateTime<Utc>> = None;
                let around = at(&format!("{change}T00:00:00Z"));
                let mut moment = around - Duration::days(5);
                while moment < around + Duration::days(5) {
                    let now = closed(&windows, moment);
                    match (now, expected) {
                        (None, Some(said)) => assert_eq!(said, moment, "{zone}: opened at another time than was said"),
                        (Some(Closed::Hours { until: Some(until) }), Some(said)) => {
                            assert_eq!(until, said, "{zone} {moment}");
                        }
                        _ => {}
                    }
                    expected = match now {
                        Some(Closed::Hours { until }) => until,
                        _ => None,
                    };
                    moment += Duration::minutes(15);
                }
            }
        }
    }
}
