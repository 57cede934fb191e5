//! Regular expressions, compiled once in a process: every simulation begins with the same definitions and rules.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use regex::Regex;

/// So many are kept; what is beyond is compiled each time.
const MOST: usize = 1024;

static KEPT: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());

/// The compiled pattern.
///
/// # Errors
/// It is none.
pub(crate) fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = kept.get(pattern) {
        return Ok(regex.clone());
    }
    let regex = Regex::new(pattern)?;
    if kept.len() < MOST {
        kept.insert(pattern.to_owned(), regex.clone());
    }
    Ok(regex)
}
