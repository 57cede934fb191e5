//! Playbooks from the cluster or from files, checked, into the `playbooks` bucket: reasoners have
//! no cluster credential. A bad one is named with its place; the others keep working.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_bus::{BucketName, Bus, BusError, Key};
use evenkeel_model::{Playbook, Query, short_digest};
use evenkeel_playbook::{Loaded, Playbooks};
use evenkeel_runtime::{Backoff, BoxError, HealthPart, Shutdown};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

use crate::metrics::{Metrics, count};

/// Files are read again every so often.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// The bucket is compared again every so often, should somebody else have written to it.
const COMPARE_AGAIN: Duration = Duration::from_secs(60);

/// Where playbooks come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaybookSource {
    /// Playbook objects of the cluster.
    Cluster,
    /// Files, and directories whose `.yaml` and `.yml` files are read.
    Files(Vec<PathBuf>),
}

/// The playbooks in use, for whoever asks what they ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse(Arc<RwLock<Vec<Loaded>>>);

impl InUse {
    pub(crate) fn set(&self, playbooks: Vec<Loaded>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = playbooks;
    }

    /// Whether a playbook asks this question of some object.
    pub(crate) fn declare(&self, query: &Query) -> bool {
        let playbooks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        playbooks.iter().any(|playbook| evenkeel_playbook::queries::declares(playbook, query))
    }
}

/// What a source gave: playbooks, and what is wrong with the rest, in words.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Given {
    loaded: Vec<Loaded>,
    problems: Vec<String>,
}

/// Reads files and directories again and again.
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    /// What each path gave when it could be read last.
    last: BTreeMap<PathBuf, Vec<Loaded>>,
}

impl Files {
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, last: BTreeMap::new() }
    }

    /// What they give now; a path that can't be read gives what it gave before, and the problem.
    pub(crate) async fn read(&mut self) -> Given {
        let mut given = Given::default();
        for path in &self.paths {
            let (mut read, is_whole) = read_path(path).await;
            match self.last.get(path) {
                Some(last) if !is_whole => read.loaded.clone_from(last),
                _ => drop(self.last.insert(path.clone(), read.loaded.clone())),
            }
            given.loaded.extend(read.loaded);
            given.problems.extend(read.problems);
        }
        given
    }
}

/// What can be read of a file or directory, and whether that is all.
async fn read_path(path: &Path) -> (Given, bool) {
    let mut given = Given::default();
    let files = match files_of(path).await {
        Ok(files) => files,
        Err(problem) => {
            given.problems.push(problem);
            return (given, false);
        }
    };
    let mut is_whole = true;
    for file in files {
        let origin = file.display().to_string();
        match tokio::fs::read_to_string(&file).await {
            Ok(text) => {
                let (loaded, problems) = evenkeel_playbook::load(&text, &origin);
                given.loaded.extend(loaded);
                given.problems.extend(problems.iter().map(ToString::to_string));
            }
            Err(error) => {
                is_whole = false;
                given.problems.push(format!("{origin}: {error}"));
            }
        }
    }
    (given, is_whole)
}

async fn files_of(path: &Path) -> Result<Vec<PathBuf>, String> {
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    if !tokio::fs::metadata(path).await.map_err(named)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut entries = tokio::fs::read_dir(path).await.map_err(named)?;
    while let Some(entry) = entries.next_entry().await.map_err(named)? {
        let file = entry.path();
        if file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Follows the source; what it gives goes into `given`.
pub(crate) async fn follow(
    source: PlaybookSource,
    client: Client,
    given: watch::Sender<Option<Given>>,
    metrics: Metrics,
    health: HealthPart,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    match source {
        PlaybookSource::Files(paths) => {
            let mut files = Files::new(paths);
            loop {
                let read = files.read().await;
                given.send_if_modified(|before| {
                    let changed = before.as_ref() != Some(&read);
                    *before = Some(read);
                    changed
                });
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    () = tokio::time::sleep(READ_AGAIN) => {}
                }
            }
        }
        PlaybookSource::Cluster => follow_cluster(client, given, metrics, health, shutdown).await,
    }
}

async fn follow_cluster(
    client: Client,
    given: watch::Sender<Option<Given>>,
    metrics: Metrics,
    health: HealthPart,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    // Untyped: one object that does not fit the type must not hide the others.
    let resource = ApiResource::erase::<Playbook>(&());
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut events = watcher::watcher(api, watcher::Config::default()).boxed();
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(20), 4);
    let mut all: BTreeMap<String, Result<Loaded, Vec<String>>> = BTreeMap::new();
    let mut listing: Option<BTreeSet<String>> = None;
    let mut failing = false;
    loop {
        let event = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            event = events.try_next() => event,
        };
        match event {
            Ok(None) => return Err("the watch of playbooks ended".into()),
            Ok(Some(event)) => {
                match event {
                    Event::Init => listing = Some(BTreeSet::new()),
                    Event::InitApply(object) | Event::Apply(object) => {
                        let name = object.name_any();
                        if let Some(listing) = &mut listing {
                            listing.insert(name.clone());
                        }
                        all.insert(name, from_object(object));
                    }
                    Event::Delete(object) => drop(all.remove(&object.name_any())),
                    Event::InitDone => {
                        let there = listing.take().unwrap_or_default();
                        all.retain(|name, _| there.contains(name));
                    }
                }
                if listing.is_none() {
                    if failing {
                        tracing::info!("playbooks can be read again");
                    }
                    failing = false;
                    backoff.reset();
                    given.send_replace(Some(collect(&all)));
                }
            }
            Err(error) => {
                metrics.error("watch playbooks");
                let reason =
                    format!("{error}; are the CRDs installed (evenkeel crds), and may the observer read them?");
                if !failing {
                    tracing::warn!(reason, "playbooks can't be read; trying again");
                }
                failing = true;
                if given.borrow().is_none() {
                    health.not_ready(evenkeel_runtime::redact::text(&reason));
                }
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    () = tokio::time::sleep(backoff.next()) => {}
                }
            }
        }
    }
}

fn from_object(object: DynamicObject) -> Result<Loaded, Vec<String>> {
    let name = object.name_any();
    let typed: Result<Playbook, _> = object.try_parse();
    match typed {
        Ok(playbook) => evenkeel_playbook::from_resource(&playbook)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect()),
        Err(error) => Err(vec![format!("playbook/{name}: {error}")]),
    }
}

fn collect(all: &BTreeMap<String, Result<Loaded, Vec<String>>>) -> Given {
    let mut given = Given::default();
    for result in all.values() {
        match result {
            Ok(loaded) => given.loaded.push(loaded.clone()),
            Err(problems) => given.problems.extend(problems.iter().cloned()),
        }
    }
    given
}

/// Puts what is given into the bucket and in use.
pub(crate) struct Keeper {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) in_use: InUse,
    pub(crate) metrics: Metrics,
    pub(crate) health: HealthPart,
}

impl Keeper {
    /// Runs until shutdown.
    pub(crate) async fn run(
        self,
        mut given: watch::Receiver<Option<Given>>,
        shutdown: Shutdown,
    ) -> Result<(), BoxError> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10), 5);
        let mut said: Vec<String> = Vec::new();
        loop {
            let now = given.borrow_and_update().clone();
            let mut wait = COMPARE_AGAIN;
            if let Some(Given { loaded, mut problems }) = now {
                let (playbooks, cross) = Playbooks::new(loaded);
                problems.extend(cross.iter().map(ToString::to_string));
                for problem in problems.iter().filter(|problem| !said.contains(problem)) {
                    tracing::error!(problem, "playbook left out");
                }
                let usable: Vec<Loaded> = playbooks.iter().cloned().collect();
                self.metrics.playbooks.set(count(usable.len()));
                self.metrics.playbook_problems.set(count(problems.len()));
                said = problems;
                let written = self.write(&usable).await;
                self.in_use.set(usable);
                match written {
                    Ok(()) => {
                        self.health.ready();
                        backoff.reset();
                    }
                    Err(error) => {
                        self.metrics.error("playbooks");
                        self.health.not_ready(format!("playbooks could not be put on the bus: {error}"));
                        wait = backoff.next().max(Duration::from_millis(50));
                    }
                }
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                changed = given.changed() => changed?,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn write(&self, playbooks: &[Loaded]) -> Result<(), BusError> {
        let bucket = self.bus.bucket(BucketName::Playbooks).await?;
        let mut there = BTreeSet::new();
        for playbook in playbooks {
            let key = key(&playbook.name)?;
            let value = match serde_json::to_vec(playbook) {
                Ok(value) => Bytes::from(value),
                Err(error) => {
                    self.metrics.error("playbooks");
                    tracing::error!(%error, playbook = playbook.name, "can't be written as JSON and is left out");
                    continue;
                }
            };
            match bucket.get(&key).await? {
                Some(entry) if entry.value == value => {}
                Some(entry) => drop(bucket.update(&key, value, entry.revision).await?),
                None => drop(bucket.create(&key, value).await?),
            }
            there.insert(key.as_str().to_owned());
        }
        for gone in bucket.keys().await?.into_iter().filter(|key| !there.contains(key)) {
            bucket.remove(&Key::new(gone)?).await?;
        }
        Ok(())
    }
}

fn key(name: &str) -> Result<Key, BusError> {
    Key::new(short_digest([name], 40))
}

#[cfg(test)]
mod tests;
