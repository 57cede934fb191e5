//! Quantities: `100m`, `1Gi`, `1e3` (k8s.io/apimachinery/pkg/api/resource).

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

const NANO: i128 = 1_000_000_000;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// How a quantity was written, and is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// An amount, exact to a billionth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantity {
    nanos: i128,
    format: Format,
}

impl Quantity {
    pub(crate) const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    /// A whole number.
    pub(crate) fn whole(number: i64) -> Self {
        Self { nanos: i128::from(number) * NANO, format: Format::Decimal }
    }

    /// Reads a quantity; none where the text is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let split = text.find(|letter: char| !letter.is_ascii_digit() && !"+-.".contains(letter)).unwrap_or(text.len());
        let (digits, suffix) = text.split_at_checked(split)?;
        let (scale, base, format) = if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
            (0, 1_i128.checked_shl(*power)?, Format::Binary)
        } else if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            (*power, 1, Format::Decimal)
        } else {
            let power = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (power, 1, Format::Exponent)
        };
        let (negative, digits) = match digits.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, digits.strip_prefix('+').unwrap_or(digits)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty()
            || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let number: i128 = format!("0{whole}{fraction}").parse().ok()?;
        let scale = scale + 9 - i32::try_from(fraction.len()).ok()?;
        let number = number.checked_mul(base)?;
        let power = 10_i128.checked_pow(scale.unsigned_abs())?;
        // What is finer than a billionth is rounded up, away from zero.
        let nanos =
            if scale >= 0 { number.checked_mul(power)? } else { number / power + i128::from(number % power != 0) };
        Some(Self { nanos: if negative { -nanos } else { nanos }, format })
    }

    /// Reads a quantity that is written as text or as a number.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text.trim()),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    /// To a thousandth, upwards: as lists of resources are kept.
    pub(crate) fn rounded(self) -> Self {
        let milli = NANO / 1000;
        let up = i128::from(self.nanos % milli > 0);
        Self { nanos: (self.nanos / milli + up) * milli, ..self }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }

    pub(crate) fn is_negative(self) -> bool {
        self.nanos < 0
    }

    pub(crate) fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// As a floating-point number.
    pub(crate) fn as_f64(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that leaves no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos / NANO;
        if self.format == Format::Binary && self.nanos % NANO == 0 && whole.abs() >= 1024 {
            let fits = BINARY.iter().rev().find(|(_, power)| whole % (1_i128 << power) == 0);
            return match fits {
                Some((suffix, power)) => write!(f, "{}{suffix}", whole >> power),
                None => write!(f, "{whole}"),
            };
        }
        for (suffix, power) in DECIMAL.iter().rev() {
            let unit = 10_i128.pow((power + 9).unsigned_abs());
            if self.nanos % unit == 0 {
                let number = self.nanos / unit;
                return match self.format {
                    Format::Exponent if *power != 0 => write!(f, "{number}e{power}"),
                    _ => write!(f, "{number}{suffix}"),
                };
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_in_their_canonical_form() {
        for (given, canonical) in [
            ("1", "1"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1000", "1k"),
            ("1024Mi", "1Gi"),
            ("64Mi", "64Mi"),
            ("0.5Gi", "512Mi"),
            ("1.5Gi", "1536Mi"),
            ("100Ki", "100Ki"),
            ("1e3", "1e3"),
            ("0", "0"),
            ("-1", "-1"),
            ("1000000Ki", "1000000Ki"),
            ("12e6", "12e6"),
            (".5", "500m"),
            ("1.", "1"),
        ] {
            assert_eq!(Quantity::parse(given).map(|quantity| quantity.to_string()).as_deref(), Some(canonical));
        }
        for none in ["", "lots", "1Gb", "1 Gi", "--1", "."] {
            assert!(Quantity::parse(none).is_none(), "{none}");
        }
        assert!(Quantity::parse("1Gi") > Quantity::parse("1G"));
    }
}
