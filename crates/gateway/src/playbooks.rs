//! Playbooks as the API server, or our own files, have them: never from a bucket, which others write.

use std::time::Duration;

use evenkeel_model::Playbook;
use evenkeel_playbook::Loaded;
use evenkeel_runtime::HealthPart;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use tokio::sync::watch;

use crate::error::ApiError;

/// Where playbooks are read.
#[derive(Debug, Clone)]
pub enum PlaybookSource {
    /// Playbook objects, each read when a proposal names it.
    Cluster,
    /// Files, as whoever reads them again and again sends them.
    Files(watch::Receiver<Vec<Loaded>>),
}

/// A playbook that was asked for.
#[derive(Debug)]
pub(crate) enum Found {
    Playbook(Box<Loaded>),
    Missing,
    /// There is one, with faults.
    Broken(String),
}

pub(crate) struct Playbooks {
    from: From,
    health: HealthPart,
}

enum From {
    Cluster { api: Box<Api<DynamicObject>>, timeout: Duration },
    Files(watch::Receiver<Vec<Loaded>>),
}

impl Playbooks {
    pub(crate) fn new(source: PlaybookSource, reader: Client, timeout: Duration, health: HealthPart) -> Self {
        let from = match source {
            PlaybookSource::Cluster => {
                let resource = ApiResource::erase::<Playbook>(&());
                From::Cluster { api: Box::new(Api::all_with(reader, &resource)), timeout }
            }
            PlaybookSource::Files(files) => From::Files(files),
        };
        Self { from, health }
    }

    /// Whether playbooks can be read at all; says so to health.
    pub(crate) async fn check(&self) -> Result<(), ApiError> {
        // A name that no playbook can have: what matters is whether we may ask.
        self.find("evenkeel-is-it-there").await.map(drop)
    }

    /// The playbook of that name, as it is now.
    ///
    /// # Errors
    /// When the API server can't be asked.
    pub(crate) async fn find(&self, name: &str) -> Result<Found, ApiError> {
        let (api, timeout) = match &self.from {
            From::Files(files) => {
                self.health.ready();
                let found = files.borrow().iter().find(|playbook| playbook.name == name).cloned();
                return Ok(found.map_or(Found::Missing, |playbook| Found::Playbook(Box::new(playbook))));
            }
            From::Cluster { api, timeout } => (api, *timeout),
        };
        let what = || format!("reading playbook {name}");
        let read = match tokio::time::timeout(timeout, api.get_opt(name)).await {
            Ok(read) => read.map_err(|error| ApiError::of(what(), error)),
            Err(_) => Err(ApiError::Late { what: what(), limit: timeout }),
        };
        match read {
            Ok(object) => {
                self.health.ready();
                Ok(object.map_or(Found::Missing, loaded))
            }
            Err(error) => {
                self.health.not_ready(error.to_string());
                Err(error)
            }
        }
    }
}

fn loaded(object: DynamicObject) -> Found {
    let playbook = match object.try_parse::<Playbook>() {
        Ok(playbook) => playbook,
        Err(error) => return Found::Broken(error.to_string()),
    };
    match evenkeel_playbook::from_resource(&playbook) {
        Ok(loaded) => Found::Playbook(Box::new(loaded)),
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Found::Broken(problems.join("; "))
        }
    }
}
