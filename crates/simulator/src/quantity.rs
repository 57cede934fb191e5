//! Kubernetes quantities: `500m`, `2Gi`, `1e3`.

/// Thousandths of the unit; none for what is no quantity.
pub(crate) fn milli(text: &str) -> Option<i128> {
    const BINARY: [(&str, u32); 6] = [("Ki", 1), ("Mi", 2), ("Gi", 3), ("Ti", 4), ("Pi", 5), ("Ei", 6)];
    const DECIMAL: [(&str, u32); 6] = [("k", 1), ("M", 2), ("G", 3), ("T", 4), ("P", 5), ("E", 6)];
    for (suffix, power) in BINARY {
        if let Some(number) = text.strip_suffix(suffix) {
            return decimal(number, 1000 * 1024_i128.pow(power));
        }
    }
    if let Some(number) = text.strip_suffix('m') {
        return decimal(number, 1);
    }
    if let Some((number, exponent)) = text.split_once(['e', 'E']).filter(|(_, exponent)| !exponent.is_empty()) {
        let exponent: u32 = exponent.trim_start_matches('+').parse().ok()?;
        return decimal(number, 10_i128.checked_pow(exponent)?.checked_mul(1000)?);
    }
    for (suffix, power) in DECIMAL {
        if let Some(number) = text.strip_suffix(suffix) {
            return decimal(number, 1000 * 1000_i128.pow(power));
        }
    }
    decimal(text, 1000)
}

/// A decimal number times `unit`, rounded up as Kubernetes does.
fn decimal(text: &str, unit: i128) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() || !whole.chars().chain(fraction.chars()).all(|c| c.is_ascii_digit()) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = fraction.get(..fraction.len().min(12)).unwrap_or_default();
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let part = part.checked_mul(unit)?;
    let sum = whole.checked_mul(unit)? + part / scale + i128::from(part % scale != 0);
    Some(if negative { -sum } else { sum })
}

/// A quantity of CPU or of things: `1500m`, `2`.
pub(crate) fn decimal_text(milli: i128) -> String {
    if milli % 1000 != 0 {
        return format!("{milli}m");
    }
    let whole = milli / 1000;
    const SUFFIXES: [(&str, i128); 4] = [("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1000)];
    match SUFFIXES.iter().find(|(_, unit)| whole != 0 && whole % unit == 0) {
        Some((suffix, unit)) => format!("{}{suffix}", whole / unit),
        None => whole.to_string(),
    }
}

/// A quantity of bytes: `512Mi`, `1000`.
pub(crate) fn binary_text(milli: i128) -> String {
    let whole = milli / 1000 + i128::from(milli % 1000 != 0);
    const SUFFIXES: [(&str, u32); 5] = [("Pi", 5), ("Ti", 4), ("Gi", 3), ("Mi", 2), ("Ki", 1)];
    let found = SUFFIXES.iter().map(|(suffix, power)| (suffix, 1024_i128.pow(*power)));
    match found.into_iter().find(|(_, unit)| whole != 0 && whole % unit == 0) {
        Some((suffix, unit)) => format!("{}{suffix}", whole / unit),
        None => whole.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let cases = [
            ("500m", 500),
            ("2", 2000),
            ("0.5", 500),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("1M", 1_000_000_000),
            ("1e3", 1_000_000),
            ("1E", 1_000_000_000_000_000_000_000),
        ];
        for (text, expected) in cases {
            assert_eq!(milli(text), Some(expected), "{text}");
        }
        for text in ["", "x", "1.2.3", "Mi", "1Zi"] {
            assert_eq!(milli(text), None, "{text}");
        }
    }

    #[test]
    fn quantities_are_written_in_their_shortest_form() {
        assert_eq!(decimal_text(1500), "1500m");
        assert_eq!(decimal_text(200_000), "200");
        assert_eq!(decimal_text(0), "0");
        assert_eq!(binary_text(1_610_612_736_000), "1536Mi");
        assert_eq!(binary_text(0), "0");
    }
}
