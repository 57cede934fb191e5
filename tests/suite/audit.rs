//! The API server's audit log, or what stands in for it: who really wrote what.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::engine::Plane;
use crate::world::ENGINE;

/// One request, as the API server recorded it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// get, list, patch, delete, create, …
    pub verb: String,
    /// The path and query.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// Who.
    pub user: User,
    /// What it was about.
    pub object_ref: Option<ObjectReference>,
    /// How it was answered.
    pub response_status: Option<Status>,
    /// When it arrived.
    #[serde(rename = "requestReceivedTimestamp")]
    pub received: chrono::DateTime<chrono::Utc>,
    /// When it was answered; of a watch, when its answer began.
    #[serde(rename = "stageTimestamp")]
    pub answered: chrono::DateTime<chrono::Utc>,
}

/// Who sent a request.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// The user's name.
    pub username: String,
}

/// What a request was about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// Plural resource.
    pub resource: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Subresource.
    pub subresource: String,
}

/// How a request was answered.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// HTTP status.
    pub code: u16,
}

impl Request {
    /// Whether it would have changed something.
    pub fn is_mutating(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it came from a plane.
    pub fn is_ours(&self) -> bool {
        Plane::ALL.into_iter().any(|plane| self.user.username == user_of(plane))
    }

    /// Whether it was only tried.
    pub fn is_dry_run(&self) -> bool {
        self.uri.contains("dryRun=All")
    }

    /// Whether it was carried out.
    pub fn succeeded(&self) -> bool {
        self.response_status.as_ref().is_some_and(|status| (200..300).contains(&status.code))
    }

    /// The HTTP status.
    pub fn code(&self) -> u16 {
        self.response_status.as_ref().map_or(0, |status| status.code)
    }

    /// Whether it was about this object.
    pub fn is_about(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.object_ref
            .as_ref()
            .is_some_and(|object| object.resource == resource && object.namespace == namespace && object.name == name)
    }
}

/// The user that the API server sees when a plane asks.
pub fn user_of(plane: Plane) -> String {
    format!("system:serviceaccount:{ENGINE}:evenkeel-{}", plane.name())
}

/// All requests of a log so far, in order, those that were moved aside for its size among them. A last line still being
/// written is left out.
///
/// # Errors
/// A file can't be read.
pub fn read(log: &Path) -> Result<Vec<Request>> {
    let dir = log.parent().context("a log in no directory")?;
    let stem = log.file_stem().and_then(|stem| stem.to_str()).context("a log without a name")?;
    // What is moved aside is named with the time; it sorts by it.
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let begin = format!("{stem}-");
    files.retain(|file| file.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&begin)));
    files.sort();
    files.push(log.to_path_buf());
    let mut requests = Vec::new();
    for file in files {
        let text = BufReader::new(File::open(&file).with_context(|| format!("reading {}", file.display()))?);
        for line in text.lines() {
            requests.extend(serde_json::from_str(&line?).ok());
        }
    }
    Ok(requests)
}
