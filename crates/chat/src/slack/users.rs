use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// A larger file is refused.
const MAX_BYTES: u64 = 1024 * 1024;
/// More users are refused.
const MAX_USERS: usize = 10_000;
/// More groups of one user are refused.
const MAX_GROUPS: usize = 100;

/// Who a Slack user is in Kubernetes. Two Slack users of one person are one person.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Person {
    /// The user's name, as the API server has it.
    pub user: String,
    /// The groups that the API server would know the user to be in.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// The file that says who is who. It is read at every click, so that who is taken out of it can't
/// approve any more, and nothing read before is believed when it can't be read.
#[derive(Debug, Clone)]
pub struct Users {
    path: PathBuf,
}

/// The file is of no use: nobody can approve in Slack until it is mended.
#[derive(Debug, thiserror::Error)]
#[error("users file {path}: {reason}", path = path.display())]
pub struct BadUsers {
    path: PathBuf,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    users: BTreeMap<String, Person>,
}

impl Users {
    /// Of a file with `users: {U012AB3CD: {user: jane@example.com, groups: [sre]}}`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Who the Slack user is; `None` for who is not in the file.
    ///
    /// # Errors
    /// [`BadUsers`] for a file that can't be read, or in which anything is wrong.
    pub async fn find(&self, slack_user: &str) -> Result<Option<Person>, BadUsers> {
        Ok(self.read().await?.remove(slack_user))
    }

    /// Everybody, checked.
    ///
    /// # Errors
    /// As [`Users::find`].
    pub async fn read(&self) -> Result<BTreeMap<String, Person>, BadUsers> {
        let bad = |reason: String| BadUsers { path: self.path.clone(), reason };
        let size = tokio::fs::metadata(&self.path).await.map_err(|error| bad(error.to_string()))?.len();
        if size > MAX_BYTES {
            return Err(bad(format!("expected at most {MAX_BYTES} bytes, found {size}")));
        }
        let text = tokio::fs::read_to_string(&self.path).await.map_err(|error| bad(error.to_string()))?;
        parse(&text).map_err(bad)
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, Person>, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    if file.users.len() > MAX_USERS {
        return Err(format!("expected at most {MAX_USERS} users, found {}", file.users.len()));
    }
    for (id, person) in &file.users {
        if !super::interaction::is_slack_id(id) {
            return Err(format!("expected a Slack user's id such as U012AB3CD, found {id:?}"));
        }
        if person.groups.len() > MAX_GROUPS {
            return Err(format!("{id}: expected at most {MAX_GROUPS} groups, found {}", person.groups.len()));
        }
        let names = std::iter::once(&person.user).chain(&person.groups);
        for name in names {
            // ServiceAccounts, nodes and system:masters are nobody who clicks.
            if name.trim() != name || name.is_empty() || name.len() > 256 || name.starts_with("system:") {
                return Err(format!(
                    "{id}: expected a person's user or group, not beginning with system:, found {name:?}"
                ));
            }
        }
    }
    Ok(file.users)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "users:\n  U012AB3CD: {user: jane@example.com, groups: [sre]}\n  W1: {user: joe}\n";

    #[tokio::test]
    async fn who_is_taken_out_is_nobody_at_the_next_click() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.yaml");
        std::fs::write(&path, FILE).unwrap();
        let users = Users::new(path.clone());
        let jane = users.find("U012AB3CD").await.unwrap().unwrap();
        assert_eq!((jane.user.as_str(), jane.groups), ("jane@example.com", vec!["sre".to_owned()]));
        assert_eq!(users.find("U9").await.unwrap(), None);
        std::fs::write(&path, "users: {W1: {user: joe}}").unwrap();
        assert_eq!(users.find("U012AB3CD").await.unwrap(), None);
        std::fs::write(&path, "users: [").unwrap();
        assert!(users.find("W1").await.is_err(), "what was read before is not believed");
        std::fs::remove_file(&path).unwrap();
        assert!(users.find("W1").await.unwrap_err().to_string().contains("users.yaml"));
    }

    #[test]
    fn nobody_becomes_the_system_by_a_line_in_a_file() {
        for bad in [
            "users: {U1: {user: 'system:serviceaccount:evenkeel:gateway'}}",
            "users: {U1: {user: jane, groups: ['system:masters']}}",
            "users: {U1: {user: ''}}",
            "users: {U1: {user: ' jane'}}",
            "users: {jane: {user: jane}}",
            "users: {U1: {user: jane, role: admin}}",
            "users: {U1: {user: a}, U1: {user: b}}",
            "user: {}",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse(FILE).unwrap().len(), 2);
    }
}
