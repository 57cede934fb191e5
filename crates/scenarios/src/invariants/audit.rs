//! The audit log, where one is kept, is whole, and tells of every change before it was made.

use super::Seen;
use crate::runner::Violation;

const NAME: &str = "the audit log is whole and tells of every change";

pub(super) fn untold(seen: &Seen<'_>) -> Vec<Violation> {
    let Some(audit) = &seen.report.audit else { return Vec::new() };
    let broken = audit.faults.iter().map(|fault| Violation::new(NAME, fault.clone()));
    let untold =
        seen.effects().filter(|write| !write.remediation.as_ref().is_some_and(|name| audit.intended.contains(name)));
    let untold = untold.map(|write| {
        let of = write.remediation.as_deref().unwrap_or("no Remediation");
        Violation::new(NAME, format!("{} {} at {} ({of}) is not in it", write.verb, write.object, write.at))
    });
    let blind = (!audit.intended.is_empty() && audit.tampered.is_empty())
        .then(|| Violation::new(NAME, "a copy in which a letter was changed is taken for whole".to_owned()));
    broken.chain(untold).chain(blind).collect()
}
