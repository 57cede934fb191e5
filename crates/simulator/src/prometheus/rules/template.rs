//! Texts of labels and annotations: the part of Go's templates that rules use.

use std::fmt::Write as _;

use super::super::labels::Labels;
use super::super::storage::Millis;

/// A text with places to fill.
#[derive(Debug, Clone)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Action(Vec<Step>),
}

#[derive(Debug, Clone)]
enum Step {
    Label(String),
    Value,
    Literal(String),
    Humanize,
    Humanize1024,
    HumanizeDuration,
    HumanizePercentage,
    /// A Go format with one verb, and what it is given where that is not the step before.
    Printf(String, Option<Box<Step>>),
}

#[derive(Debug, Clone)]
enum Given {
    Text(String),
    Number(f64),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is not simulated, or no template.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (action, after) = after.split_once("}}").ok_or_else(|| format!("unclosed action in {text:?}"))?;
            let trims_left = action.starts_with("- ");
            let trims_right = action.ends_with(" -");
            let before = if trims_left { before.trim_end() } else { before };
            pieces.push(Piece::Text(before.to_owned()));
            let action = action.trim_start_matches('-').trim_end_matches('-').trim();
            pieces.push(Piece::Action(pipeline(action)?));
            rest = if trims_right { after.trim_start() } else { after };
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Fills it in.
    pub(crate) fn render(&self, labels: &Labels, value: f64) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Action(steps) => {
                    let given = steps.iter().fold(None, |given, step| Some(step.run(given, labels, value)));
                    match given {
                        Some(Given::Text(given)) => text.push_str(&given),
                        Some(Given::Number(number)) => text.push_str(&shortest(number)),
                        None => {}
                    }
                }
            }
        }
        text
    }
}

fn pipeline(action: &str) -> Result<Vec<Step>, String> {
    let steps: Result<Vec<Step>, String> = action.split('|').map(|part| step(part.trim())).collect();
    let steps = steps?;
    let is_source =
        |step: &Step| matches!(step, Step::Label(_) | Step::Value | Step::Literal(_) | Step::Printf(_, Some(_)));
    match steps.split_first() {
        Some((first, rest)) if is_source(first) && !rest.iter().any(is_source) => Ok(steps),
        _ => Err(format!("not simulated: the template action {{{{ {action} }}}}")),
    }
}

fn step(part: &str) -> Result<Step, String> {
    let unknown = || format!("not simulated: the template action {{{{ {part} }}}}");
    let literal = |text: &str| {
        let inner = text.strip_prefix('"')?.strip_suffix('"')?;
        (!inner.contains(['"', '\\'])).then(|| inner.to_owned())
    };
    match part {
        "$value" | ".Value" => return Ok(Step::Value),
        "humanize" => return Ok(Step::Humanize),
        "humanize1024" => return Ok(Step::Humanize1024),
        "humanizeDuration" => return Ok(Step::HumanizeDuration),
        "humanizePercentage" => return Ok(Step::HumanizePercentage),
        _ => {}
    }
    if let Some(name) = part.strip_prefix("$labels.").or_else(|| part.strip_prefix(".Labels.")) {
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        return if is_name { Ok(Step::Label(name.to_owned())) } else { Err(unknown()) };
    }
    if let Some(rest) = part.strip_prefix("printf ") {
        let rest = rest.trim();
        let (format, argument) = match rest.rsplit_once("\" ") {
            Some((format, argument)) => (format!("{format}\""), Some(Box::new(step(argument.trim())?))),
            None => (rest.to_owned(), None),
        };
        let format = literal(&format).ok_or_else(unknown)?;
        verb(&format).ok_or_else(unknown)?;
        return Ok(Step::Printf(format, argument));
    }
    literal(part).map(Step::Literal).ok_or_else(unknown)
}

/// The text before a format's one verb, its digits after the point, the verb, and the text after it.
fn verb(format: &str) -> Option<(&str, Option<usize>, char, &str)> {
    let (before, rest) = format.split_once('%')?;
    let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
    let (flags, rest) = rest.split_at(end);
    let mut characters = rest.chars();
    let letter = characters.next().filter(|letter| "fgsvd".contains(*letter))?;
    let after = characters.as_str();
    let digits = match flags {
        "" => None,
        flags => Some(flags.trim_start_matches('0').strip_prefix('.')?.parse().ok()?),
    };
    (!after.replace("%%", "").contains('%')).then_some((before, digits, letter, after))
}

impl Step {
    fn run(&self, given: Option<Given>, labels: &Labels, value: f64) -> Given {
        let number = || match &given {
            Some(Given::Number(number)) => *number,
            Some(Given::Text(text)) => text.parse().unwrap_or(f64::NAN),
            None => f64::NAN,
        };
        match self {
            Self::Label(name) => Given::Text(labels.get(name).to_owned()),
            Self::Value => Given::Number(value),
            Self::Literal(text) => Given::Text(text.clone()),
            Self::Humanize => Given::Text(humanize(number(), 1000.0, &["", "k", "M", "G", "T", "P", "E", "Z", "Y"])),
            Self::Humanize1024 => {
                Given::Text(humanize(number(), 1024.0, &["", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"]))
            }
            Self::HumanizeDuration => Given::Text(humanize_duration(number())),
            Self::HumanizePercentage => Given::Text(format!("{}%", significant(number() * 100.0, 4))),
            Self::Printf(format, argument) => {
                let given = argument.as_ref().map(|step| step.run(None, labels, value)).or(given);
                Given::Text(printf(format, given))
            }
        }
    }
}

fn printf(format: &str, given: Option<Given>) -> String {
    let Some((before, digits, letter, after)) = verb(format) else { return String::new() };
    let filled = match (letter, given) {
        ('f', Some(Given::Number(number))) => format!("{number:.*}", digits.unwrap_or(6)),
        ('g', Some(Given::Number(number))) => match digits {
            Some(digits) => significant(number, digits),
            None => shortest(number),
        },
        ('v', Some(Given::Number(number))) => shortest(number),
        ('s' | 'v', Some(Given::Text(text))) => text,
        // Go's own complaint about a verb and a value that don't fit.
        (verb, Some(Given::Number(number))) => format!("%!{verb}(float64={})", shortest(number)),
        (verb, Some(Given::Text(text))) => format!("%!{verb}(string={text})"),
        (verb, None) => format!("%!{verb}(MISSING)"),
    };
    format!("{before}{filled}{after}").replace("%%", "%")
}

/// A time's seconds as a value.
pub(super) fn number(of: Millis) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit 53 bits")]
    let number = of as f64;
    number
}

fn special(of: f64) -> Option<&'static str> {
    if of.is_nan() {
        Some("NaN")
    } else if of.is_infinite() {
        Some(if of > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

/// Mantissa's digits and the decimal exponent, of as few digits as tell the number apart, or of so many.
fn parts(of: f64, precision: Option<usize>) -> (String, i32) {
    let text = match precision {
        Some(precision) => format!("{:.*e}", precision.saturating_sub(1), of.abs()),
        None => format!("{:e}", of.abs()),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.to_owned(), exponent.parse().unwrap_or(0))
}

fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Go's `%e` of as few digits as tell it apart: how Prometheus writes an alert's value.
pub(crate) fn exponent(of: f64) -> String {
    if let Some(text) = special(of) {
        return text.to_owned();
    }
    let (mantissa, exponent) = parts(of, None);
    let sign = if of.is_sign_negative() { "-" } else { "" };
    format!("{sign}{}", with_exponent(&mantissa, exponent))
}

/// Go's `%v` of a float.
pub(crate) fn shortest(of: f64) -> String {
    if let Some(text) = special(of) {
        return text.to_owned();
    }
    let (mantissa, exponent) = parts(of, None);
    let sign = if of.is_sign_negative() { "-" } else { "" };
    if (-4..21).contains(&exponent) { format!("{of}") } else { format!("{sign}{}", with_exponent(&mantissa, exponent)) }
}

/// Go's `%.4g`.
fn significant(of: f64, digits: usize) -> String {
    if let Some(text) = special(of) {
        return text.to_owned();
    }
    let (mantissa, exponent) = parts(of, Some(digits));
    let sign = if of.is_sign_negative() { "-" } else { "" };
    let trimmed = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
    };
    let most = i32::try_from(digits.max(1)).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= most {
        return format!("{sign}{}", with_exponent(&trimmed(&mantissa), exponent));
    }
    let after = usize::try_from(most - 1 - exponent).unwrap_or(0);
    format!("{sign}{}", trimmed(&format!("{:.after$}", of.abs())))
}

fn humanize(of: f64, base: f64, larger: &[&str]) -> String {
    if of == 0.0 || of.is_nan() || of.is_infinite() {
        return significant(of, 4);
    }
    let (mut value, mut prefix) = (of, "");
    if of.abs() >= 1.0 {
        for name in larger {
            prefix = name;
            if value.abs() < base {
                break;
            }
            if Some(name) != larger.last() {
                value /= base;
            }
        }
    } else if base < 1024.0 {
        for name in ["m", "u", "n", "p", "f", "a", "z", "y"] {
            if value.abs() >= 1.0 {
                break;
            }
            prefix = name;
            value *= base;
        }
    }
    format!("{}{prefix}", significant(value, 4))
}

fn humanize_duration(of: f64) -> String {
    if of.is_nan() || of.is_infinite() {
        return significant(of, 4);
    }
    if of == 0.0 {
        return "0s".to_owned();
    }
    if of.abs() < 1.0 {
        let (mut value, mut prefix) = (of, "");
        for name in ["m", "u", "n", "p", "f", "a", "z", "y"] {
            if value.abs() >= 1.0 {
                break;
            }
            prefix = name;
            value *= 1000.0;
        }
        return format!("{}{prefix}s", significant(value, 4));
    }
    let sign = if of < 0.0 { "-" } else { "" };
    let whole = of.abs().floor();
    let (seconds, minutes) = (whole % 60.0, (whole / 60.0).floor() % 60.0);
    let (hours, days) = ((whole / 3600.0).floor() % 24.0, (whole / 86_400.0).floor());
    let mut text = String::from(sign);
    // Writing to a text can't fail.
    let _ = if days > 0.0 {
        write!(text, "{days}d {hours}h {minutes}m {seconds}s")
    } else if hours > 0.0 {
        write!(text, "{hours}h {minutes}m {seconds}s")
    } else if minutes > 0.0 {
        write!(text, "{minutes}m {seconds}s")
    } else {
        write!(text, "{}s", significant(of.abs(), 4))
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (value, expected) in [(0.0, "0"), (3.0, "3"), (0.03, "0.03"), (1e21, "1e+21"), (-1e-7, "-1e-07")] {
            assert_eq!(shortest(value), expected);
        }
        assert_eq!(
            (exponent(1.0), exponent(-0.25), exponent(f64::INFINITY)),
            ("1e+00".to_owned(), "-2.5e-01".to_owned(), "+Inf".to_owned())
        );
        assert_eq!(
            (significant(123_456.0, 4), significant(99.5, 4), significant(0.0, 4)),
            ("1.235e+05".to_owned(), "99.5".to_owned(), "0".to_owned())
        );
    }

    #[test]
    fn a_template_is_filled_in() {
        let labels = Labels::of([("pod", "cart-1")]);
        for (text, value, expected) in [
            ("{{ $labels.pod }}{{$labels.none}}: {{ $value }}", 2.0, "cart-1: 2"),
            ("{{ $value | humanize }}B", 1_234_567.0, "1.235MB"),
            ("{{ $value | humanize1024 }}B", 1_073_741_824.0, "1GiB"),
            ("{{ $value | humanize }}", 0.005, "5m"),
            ("{{ $value | humanizePercentage }}", 0.951, "95.1%"),
            (r#"{{ "43200" | humanizeDuration }}"#, 0.0, "12h 0m 0s"),
            ("{{ $value | humanizeDuration }}", 90_061.0, "1d 1h 1m 1s"),
            ("{{ $value | humanizeDuration }}", 0.25, "250ms"),
            (r#"{{ printf "%.2f" $value }}% and {{ $value | printf "%.0f" }}"#, 3.25, "3.25% and 3"),
            ("a {{- $labels.pod -}} b", 0.0, "acart-1b"),
        ] {
            assert_eq!(Template::parse(text).unwrap().render(&labels, value), expected, "{text}");
        }
        for text in ["{{ if $value }}x{{ end }}", "{{ $labels.pod", "{{ query \"up\" }}", "{{ humanize }}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
