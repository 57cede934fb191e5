use super::{Healed, OnePlaybook, Road};

/// One row for people: a playbook and its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The playbook.
    pub name: String,
    /// Its figures, under [`Row::HEADINGS`].
    pub figures: Vec<String>,
    /// Whether somebody should look at it.
    pub is_bad: bool,
    /// What follows.
    pub reads: String,
}

impl Row {
    /// What the figures are.
    pub const HEADINGS: [&'static str; 9] =
        ["WOULD DO", "HEALED ALONE", "BY OTHERS", "STILL ILL", "DONE", "HELPED", "NO HELP", "CAME AGAIN", "DENIED"];
}

/// A row for each playbook.
pub fn rows(road: &Road) -> Vec<Row> {
    road.playbooks.iter().map(row).collect()
}

fn row(one: &OnePlaybook) -> Row {
    let number = |number: u64| if number == 0 { String::new() } else { number.to_string() };
    Row {
        name: one.name.clone(),
        figures: vec![
            number(one.would_execute),
            healed(&one.healed_alone),
            number(one.repaired_by_others),
            number(one.still_ill),
            number(one.done),
            number(one.succeeded),
            number(one.ineffective),
            number(one.regressed),
            number(one.denied),
        ],
        is_bad: one.ineffective + one.regressed > 0,
        reads: one.reads.clone(),
    }
}

/// `3 (half in 4m, slowest 20m)`.
pub(super) fn healed(healed: &Healed) -> String {
    match (healed.count, healed.median_seconds, healed.slowest_seconds) {
        (0, ..) => String::new(),
        (count, Some(median), Some(slowest)) if count > 1 => {
            format!("{count} (half in {}, slowest {})", span(median), span(slowest))
        }
        (count, median, _) => format!("{count} (in {})", span(median.unwrap_or_default())),
    }
}

/// What the whole comes to, in a line or two.
pub fn summary(road: &Road) -> Vec<String> {
    let mut lines = vec![format!("{} incidents since {}", road.incidents, road.since.format("%Y-%m-%d %H:%M UTC"))];
    if road.healed_before.count > 0 {
        lines.push(format!("over before anything was proposed: {}", healed(&road.healed_before)));
    }
    lines
}

/// `4m`, `2h05m`, `3d4h`: in at most two units.
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 if seconds % 60 != 0 && minutes < 10 => format!("{minutes}m{:02}s", seconds % 60),
        60..3_600 => format!("{minutes}m"),
        3_600..86_400 if minutes != 0 => format!("{hours}h{minutes:02}m"),
        3_600..86_400 => format!("{hours}h"),
        _ if hours != 0 => format!("{days}d{hours}h"),
        _ => format!("{days}d"),
    }
}
