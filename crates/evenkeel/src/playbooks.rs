//! Playbooks from files, for planes that are told to read them there.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use evenkeel_playbook::{Loaded, Playbooks, Problem};
use evenkeel_runtime::Shutdown;
use tokio::sync::watch;

use crate::check;

/// As often as the observer does.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// The playbooks of files that may be used. What is wrong with the others is logged with its
/// place, and leaves the rest.
pub(crate) fn from_files(paths: &[PathBuf]) -> Result<Vec<Loaded>> {
    let (usable, problems) = read(paths)?;
    say(&usable, &problems);
    Ok(usable)
}

/// Reads the files again every so often, until shutdown. What can't be read for a moment stays as it was.
pub(crate) async fn follow(paths: Vec<PathBuf>, playbooks: watch::Sender<Vec<Loaded>>, shutdown: Shutdown) {
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(READ_AGAIN) => {}
        }
        let from = paths.clone();
        match tokio::task::spawn_blocking(move || read(&from)).await.map_err(anyhow::Error::from).flatten() {
            Ok((usable, problems)) => {
                failing = false;
                if *playbooks.borrow() != usable {
                    say(&usable, &problems);
                    playbooks.send_replace(usable);
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(error = format!("{error:#}"), "playbooks can't be read; those read before stay");
                }
                failing = true;
            }
        }
    }
}

fn say(usable: &[Loaded], problems: &[Problem]) {
    for problem in problems {
        tracing::error!(%problem, "a playbook can't be used");
    }
    tracing::info!(playbooks = usable.len(), problems = problems.len(), "playbooks read from files");
}

fn read(paths: &[PathBuf]) -> Result<(Vec<Loaded>, Vec<Problem>)> {
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
    Ok((usable.iter().cloned().collect(), problems))
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

    #[tokio::test(start_paused = true)]
    async fn files_are_read_again_and_kept_while_they_can_not_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tell.yaml");
        std::fs::write(&file, GOOD).unwrap();
        let paths = vec![file.clone()];
        let (sender, mut playbooks) = watch::channel(from_files(&paths).unwrap());
        let shutdown = Shutdown::new();
        let task = tokio::spawn(follow(paths, sender, shutdown.clone()));
        std::fs::remove_file(&file).unwrap();
        tokio::time::sleep(2 * READ_AGAIN + READ_AGAIN / 2).await;
        assert_eq!(playbooks.borrow().len(), 1, "away for a moment");
        std::fs::write(&file, GOOD.replace("name: tell}", "name: told}")).unwrap();
        playbooks.changed().await.unwrap();
        assert_eq!(playbooks.borrow_and_update()[0].name, "told");
        shutdown.cancel();
        task.await.unwrap();
    }
}
