//! A scenario as a picture: changes, signals, decisions, actions and health over one axis of time.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::model::{EventKind, ScenarioPage};
use super::page::escape;

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 230.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const LANE: f64 = 26.0;
const HEALTH: f64 = 38.0;
/// Marks nearer than this to each other are drawn as one with a count.
const APART: f64 = 9.0;
/// Labels are cut at so many characters.
const LABEL: usize = 34;
/// Words that have to be cut are shown from so many letters on.
const ENOUGH: f64 = 12.0;
/// The width of a letter, about.
const LETTER: f64 = 6.4;
/// So many lanes of one sort; more are said to be there.
const MAX_LANES: usize = 12;

struct Picture<'a> {
    report: &'a ScenarioPage,
    lanes: String,
    y: f64,
}

/// The picture, as SVG.
pub(super) fn timeline(report: &ScenarioPage) -> String {
    let mut picture = Picture { report, lanes: String::new(), y: TOP };
    picture.events("changes", EventKind::Change, "change");
    picture.events("trouble for the engine", EventKind::Fault, "fault");
    for signal in report.signals.iter().take(MAX_LANES) {
        picture.signal(&signal.name, &signal.object, &signal.firing);
    }
    picture.more(report.signals.len(), "signals");
    picture.events("decisions", EventKind::Decision, "decision");
    picture.events("verdicts", EventKind::Verdict, "verdict");
    picture.events("actions", EventKind::Action, "action");
    picture.events("outcomes", EventKind::Outcome, "outcome");
    for health in report.health.iter().take(MAX_LANES) {
        picture.health(&health.object, &health.points.iter().map(|it| (it.at, it.well)).collect::<Vec<_>>());
    }
    picture.more(report.health.len(), "objects");
    picture.finish()
}

impl Picture<'_> {
    fn x(&self, at: DateTime<Utc>) -> f64 {
        let whole = (self.report.end - self.report.start).num_milliseconds().max(1);
        let part = (at - self.report.start).num_milliseconds().clamp(0, whole);
        LEFT + (WIDTH - LEFT - RIGHT) * float(part) / float(whole)
    }

    fn label(&mut self, text: &str, full: &str) {
        let y = self.y + LANE / 2.0 + 4.0;
        let _ = writeln!(
            self.lanes,
            "<text x=\"{:.0}\" y=\"{y:.1}\" text-anchor=\"end\">{}<title>{}</title></text>",
            LEFT - 12.0,
            escape(&cut(text)),
            escape(full)
        );
    }

    fn rule(&mut self) {
        let _ = writeln!(
            self.lanes,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>",
            WIDTH - RIGHT,
            self.y
        );
    }

    /// Marks of one lane, with words where there is room for them.
    fn events(&mut self, name: &str, kind: EventKind, class: &str) {
        let mut marks: Vec<(f64, Vec<String>)> = Vec::new();
        for event in self.report.events.iter().filter(|event| event.kind == kind) {
            let x = self.x(event.at);
            let said = format!("+{} {}", offset(event.at - self.report.start), event.text);
            match marks.last_mut() {
                Some((last, said_before)) if x - *last < APART => said_before.push(said),
                _ => marks.push((x, vec![said])),
            }
        }
        if marks.is_empty() {
            return;
        }
        self.rule();
        self.label(name, name);
        let middle = self.y + LANE / 2.0;
        // How far words of the mark before reach.
        let mut taken = LEFT;
        for (n, (x, said)) in marks.iter().enumerate() {
            let title = escape(&said.join("\n"));
            let _ = writeln!(self.lanes, "<g>{}<title>{title}</title></g>", shape(class, *x, middle));
            let first = said.first().and_then(|said| said.split_once(' ')).map_or("", |(_, text)| text);
            let words = if said.len() > 1 { format!("{}× {first}", said.len()) } else { first.to_owned() };
            let after = marks.get(n + 1).map_or(WIDTH - RIGHT, |(next, _)| *next - 8.0) - x - 10.0;
            let before = x - 10.0 - taken;
            let long = float_of(words.chars().count()) * LETTER;
            let (at, anchor, room) =
                if long > after && before > after { (x - 10.0, "end", before) } else { (x + 10.0, "start", after) };
            taken = x + 8.0;
            if long <= room || room / LETTER >= ENOUGH {
                let _ = writeln!(
                    self.lanes,
                    "<text class=\"faint-text\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" aria-hidden=\"true\">{}</text>",
                    middle + 4.0,
                    escape(&cut_to(&words, room / LETTER))
                );
                if anchor == "start" {
                    taken = at + long.min(room);
                }
            }
        }
        self.y += LANE;
    }

    fn signal(&mut self, name: &str, object: &str, firing: &[(DateTime<Utc>, Option<DateTime<Utc>>)]) {
        self.rule();
        let short = object.rsplit('/').next().unwrap_or_default();
        self.label(&format!("{name} {short}"), &format!("{name} on {object}"));
        for (from, to) in firing.iter().filter(|(from, _)| *from < self.report.end) {
            let (left, right) = (self.x(*from), self.x(to.unwrap_or(self.report.end)));
            let until = to.map_or("the end".to_owned(), |to| format!("+{}", offset(to - self.report.start)));
            let _ = writeln!(
                self.lanes,
                "<rect class=\"signal\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"10\" rx=\"3\"><title>{} on {}: +{} to {until}</title></rect>",
                self.y + 8.0,
                (right - left).max(3.0),
                escape(name),
                escape(object),
                offset(*from - self.report.start)
            );
        }
        self.y += LANE;
    }

    fn health(&mut self, object: &str, points: &[(DateTime<Utc>, f64)]) {
        self.rule();
        self.label(object, object);
        let (top, bottom) = (self.y + 5.0, self.y + HEALTH - 5.0);
        for (n, (at, well)) in points.iter().enumerate() {
            let (left, right) = (self.x(*at), self.x(points.get(n + 1).map_or(self.report.end, |(next, _)| *next)));
            let well = well.clamp(0.0, 1.0);
            let level = bottom - (bottom - top) * well;
            let width = right - left;
            let title = format!("{}: {:.0} % well from +{}", object, well * 100.0, offset(*at - self.report.start));
            let _ = writeln!(
                self.lanes,
                "<g><rect class=\"ill\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/><rect class=\"well\" x=\"{left:.1}\" y=\"{level:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/><title>{}</title></g>",
                level - top,
                bottom - level,
                escape(&title)
            );
        }
        self.y += HEALTH;
    }

    fn more(&mut self, all: usize, what: &str) {
        if all > MAX_LANES {
            let text = format!("and {} more {what}", all - MAX_LANES);
            self.label(&text, &text);
            self.y += LANE;
        }
    }

    fn finish(self) -> String {
        let height = self.y + 26.0;
        let legend = if self.report.health.is_empty() {
            String::new()
        } else {
            format!(
                "<text class=\"faint-text\" x=\"{LEFT}\" y=\"{:.1}\">objects: filled from below as far as they are well</text>",
                self.y + 18.0
            )
        };
        let mut axis = String::new();
        let whole = (self.report.end - self.report.start).num_seconds().max(1);
        let step = tick(whole);
        let mut at = 0;
        while at <= whole {
            let x = self.x(self.report.start + chrono::Duration::seconds(at));
            let _ = writeln!(
                axis,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/><text class=\"faint-text\" x=\"{x:.1}\" y=\"14\" text-anchor=\"middle\">{}</text>",
                TOP - 6.0,
                self.y,
                offset(chrono::Duration::seconds(at))
            );
            at += step;
        }
        for event in self.report.events.iter().filter(|event| event.kind == EventKind::Action) {
            let x = self.x(event.at);
            let _ = writeln!(
                axis,
                "<line class=\"stem\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP:.1}\" y2=\"{:.1}\"/>",
                self.y
            );
        }
        format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Timeline of {name}\">\n\
             <svg class=\"timeline\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"Timeline of {name}; the table below says the same in words\">\n\
             {axis}{lanes}{legend}</svg></div>\n",
            name = escape(&self.report.name),
            lanes = self.lanes
        )
    }
}

/// Told apart by shape as well as by colour.
fn shape(class: &str, x: f64, y: f64) -> String {
    match class {
        "action" => format!("<path class=\"action\" d=\"M{:.1} {:.1}l12 7l-12 7z\"/>", x - 4.0, y - 7.0),
        "change" => {
            format!("<rect class=\"change\" x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"/>", x - 4.0, y - 4.0)
        }
        "fault" => {
            let (l, t) = (x - 5.0, y - 5.0);
            format!(
                "<path class=\"fault\" d=\"M{l:.1} {t:.1}l2 -2l3 3l3 -3l2 2l-3 5l3 5l-2 2l-3 -3l-3 3l-2 -2l3 -5z\"/>"
            )
        }
        "verdict" => format!("<path class=\"verdict\" d=\"M{x:.1} {:.1}l6 6l-6 6l-6 -6z\"/>", y - 6.0),
        class => format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"),
    }
}

/// Seconds between ticks, for at most about ten of them.
fn tick(whole: i64) -> i64 {
    let steps = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400];
    steps.into_iter().find(|step| whole / step <= 10).unwrap_or(whole / 10)
}

/// `2m30s`; from the beginning of the scenario.
pub(super) fn offset(length: chrono::Duration) -> String {
    let seconds = length.num_seconds().max(0).unsigned_abs();
    evenkeel_model::Span::seconds(seconds).to_string()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LABEL {
        return text.to_owned();
    }
    let end: String = text.chars().take(LABEL - 1).collect();
    format!("{end}…")
}

fn cut_to(text: &str, letters: f64) -> String {
    // At most some hundred letters fit.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let most = letters as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let end: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{end}…")
}

fn float_of(number: usize) -> f64 {
    float(i64::try_from(number).unwrap_or(i64::MAX))
}

fn float(number: i64) -> f64 {
    // Milliseconds of less than a hundred years are exact.
    #[allow(clippy::cast_precision_loss)]
    let float = number as f64;
    float
}
