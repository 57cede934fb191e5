//! Playbooks from files, for planes that are told to read them there.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use evenkeel_playbook::{Loaded, Playbooks};

use crate::check;

/// The playbooks of files that may be used. What is wrong with the others is logged with its
/// place, and leaves the rest.
pub(crate) fn from_files(paths: &[PathBuf]) -> Result<Vec<Loaded>> {
    let files = match check::files(paths) {
        Ok(files) => files,
        Err(reason) => bail!("playbooks.from.files: {reason}"),
    };
    let (mut loaded, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        let origin = file.display().to_string();
        let text = std::fs::read_to_string(&file).with_context(|| format!("playbooks.from.files: {origin}"))?;
        let (found, wrong) = evenkeel_playbook::load(&text, &origin);
        loaded.extend(found);
        problems.extend(wrong);
    }
    let (usable, wrong) = Playbooks::new(loaded);
    problems.extend(wrong);
    for problem in &problems {
        tracing::error!(%problem, "a playbook can't be used");
    }
    let usable: Vec<Loaded> = usable.iter().cloned().collect();
    tracing::info!(playbooks = usable.len(), problems = problems.len(), "playbooks read from files");
    Ok(usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: tell}
spec:
  summary: Tell people.
  priority: 1
  match: {signals: ['*']}
  steps: [{name: tell, do: {escalate: {severity: Ticket}}}]
";

    #[test]
    fn a_bad_playbook_leaves_the_others() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("good.yaml"), GOOD).unwrap();
        std::fs::write(dir.path().join("bad.yaml"), GOOD.replace("summary", "sumary")).unwrap();
        let loaded = from_files(&[dir.path().to_owned()]).unwrap();
        assert_eq!(loaded.iter().map(|playbook| playbook.name.as_str()).collect::<Vec<_>>(), ["tell"]);
    }

    #[test]
    fn a_path_of_no_use_is_an_error() {
        let error = from_files(&["/nowhere".into()]).unwrap_err().to_string();
        assert!(error.starts_with("playbooks.from.files: /nowhere: expected"), "{error}");
    }
}
