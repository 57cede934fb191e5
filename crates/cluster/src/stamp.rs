use std::fmt;
use std::str::FromStr;

use evenkeel_model::{FIELD_MANAGER, Meta};

/// What every patch of ours leaves in the annotation `evenkeel.dev/remediation`: who wrote, under
/// which claim, and whether it was the act or its undoing. After a crash it tells what was done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Name of the Remediation.
    pub remediation: String,
    /// Epoch of the claim it was written under.
    pub epoch: u64,
    /// Whether it took back what the Remediation had done.
    pub undo: bool,
}

impl Stamp {
    /// The stamp of an act.
    pub fn new(remediation: impl Into<String>, epoch: u64) -> Self {
        Self { remediation: remediation.into(), epoch, undo: false }
    }

    /// The stamp of an act on an object (not of its undoing) that still stands: nobody else has written
    /// those fields of its spec since, whatever the annotation says.
    pub fn standing(meta: &Meta) -> Option<Self> {
        let stamp: Self = meta.stamp.as_deref()?.parse().ok()?;
        let wrote = meta.writers.iter().any(|writer| writer.manager == FIELD_MANAGER);
        (wrote && !stamp.undo).then_some(stamp)
    }

    /// The stamp of its undoing.
    #[must_use]
    pub fn undoing(&self) -> Self {
        Self { undo: true, ..self.clone() }
    }
}

impl fmt::Display for Stamp {
    /// `r-4f2a…/3`, and `r-4f2a…/3/undo` for its undoing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.remediation, self.epoch, if self.undo { "/undo" } else { "" })
    }
}

/// Text that is no stamp of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a stamp <remediation>/<epoch> or <remediation>/<epoch>/undo, found {0:?}")]
pub struct BadStamp(pub String);

impl FromStr for Stamp {
    type Err = BadStamp;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || BadStamp(s.to_owned());
        let parts: Vec<&str> = s.split('/').collect();
        let (remediation, epoch, undo) = match parts.as_slice() {
            [remediation, epoch] => (*remediation, *epoch, false),
            [remediation, epoch, "undo"] => (*remediation, *epoch, true),
            _ => return Err(bad()),
        };
        if remediation.is_empty() {
            return Err(bad());
        }
        Ok(Self { remediation: remediation.to_owned(), epoch: epoch.parse().map_err(|_| bad())?, undo })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_back() {
        let stamp = Stamp::new("r-1", 7);
        assert_eq!(stamp.to_string(), "r-1/7");
        assert_eq!(stamp.undoing().to_string(), "r-1/7/undo");
        for stamp in [stamp.undoing(), stamp] {
            assert_eq!(stamp.to_string().parse(), Ok(stamp));
        }
    }

    #[test]
    fn what_is_no_stamp_is_refused() {
        for text in ["", "r-1", "/1", "r-1/", "r-1/x", "r-1/1/redo", "r-1/1/undo/2"] {
            assert!(text.parse::<Stamp>().is_err(), "{text}");
        }
    }
}
