//! A store on a file system, S3, Google Cloud Storage or Azure Blob Storage.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig};

use crate::{Store, StoreError};

/// The longest a request to a cloud's store may take, and all attempts at it together.
const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(60));

/// An address no store can be made of.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {why}")]
pub struct BadAddress {
    /// As it was given.
    pub address: String,
    /// What is wrong with it.
    pub why: String,
}

/// A store outside the process.
#[derive(Debug)]
pub struct ObjectsAt {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl ObjectsAt {
    /// The store at a directory's path, or at `file:///DIR`, `s3://BUCKET/PREFIX`,
    /// `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`. Credentials and endpoints of the
    /// clouds are found as their own tools find them: `AWS_…`, `GOOGLE_…` and `AZURE_…` in the
    /// environment, or the identity of the pod or machine.
    ///
    /// # Errors
    /// [`BadAddress`] when it is none of these, or the directory can't be made.
    pub fn new(address: &str) -> Result<Self, BadAddress> {
        let bad = |why: String| BadAddress { address: address.to_owned(), why };
        let Some((scheme, rest)) = address.split_once("://") else {
            return directory(FilePath::new(address)).map_err(bad);
        };
        let prefix = rest.split_once('/').map(|(_, prefix)| prefix).unwrap_or_default();
        let client = ClientOptions::new().with_timeout(TIMEOUTS.0);
        let retry = RetryConfig { retry_timeout: TIMEOUTS.1, ..RetryConfig::default() };
        let bucket = format!("{scheme}://{}", rest.split('/').next().unwrap_or_default());
        let failed = |error: object_store::Error| bad(error.to_string());
        let store: Arc<dyn ObjectStore> = match scheme {
            "file" => return directory(FilePath::new(rest)).map_err(bad),
            "s3" => Arc::new(
                AmazonS3Builder::from_env()
                    .with_url(bucket)
                    .with_client_options(client)
                    .with_retry(retry)
                    .build()
                    .map_err(failed)?,
            ),
            "gs" => Arc::new(
                GoogleCloudStorageBuilder::from_env()
                    .with_url(bucket)
                    .with_client_options(client)
                    .with_retry(retry)
                    .build()
                    .map_err(failed)?,
            ),
            "az" => Arc::new(
                MicrosoftAzureBuilder::from_env()
                    .with_url(bucket)
                    .with_client_options(client)
                    .with_retry(retry)
                    .build()
                    .map_err(failed)?,
            ),
            _ => return Err(bad("expected a directory, file://, s3://, gs:// or az://".to_owned())),
        };
        Ok(Self { store, prefix: Path::parse(prefix).map_err(|error| bad(error.to_string()))? })
    }

    fn path(&self, path: &str) -> Path {
        self.prefix.parts().chain(Path::from(path).parts()).collect()
    }
}

/// A directory. What is written is on the disk before it is answered.
fn directory(path: &FilePath) -> Result<ObjectsAt, String> {
    std::fs::create_dir_all(path).map_err(|error| format!("making the directory: {error}"))?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| error.to_string())?;
    Ok(ObjectsAt { store: Arc::new(store.with_fsync(true)), prefix: Path::default() })
}

#[async_trait]
impl Store for ObjectsAt {
    async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        let read = async { self.store.get(&self.path(path)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("reading", path, &error)),
        }
    }

    async fn put(&self, path: &str, body: Bytes) -> Result<(), StoreError> {
        let written = self.store.put(&self.path(path), body.into()).await;
        written.map(drop).map_err(|error| failed("writing", path, &error))
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        match self.store.delete(&self.path(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("removing", path, &error)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let listed = self.store.list(Some(&self.path(folder)));
        let found: Vec<_> = listed.try_collect().await.map_err(|error| failed("listing", folder, &error))?;
        let ours = found.iter().filter_map(|it| {
            let parts: Vec<_> = it.location.prefix_match(&self.prefix)?.collect();
            Some(parts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("/"))
        });
        let mut paths: Vec<String> = ours.collect();
        paths.sort_unstable();
        Ok(paths)
    }
}

fn failed(what: &'static str, path: &str, error: &object_store::Error) -> StoreError {
    StoreError { what, path: path.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_a_store(store: &dyn Store) {
        assert!(store.get("checkpoint").await.unwrap().is_none());
        store.put("tile/entries/000.p/3", Bytes::from_static(b"one")).await.unwrap();
        store.put("tile/entries/000", Bytes::from_static(b"whole")).await.unwrap();
        store.put("tile/entries/000.p/3", Bytes::from_static(b"two")).await.unwrap();
        assert_eq!(store.get("tile/entries/000.p/3").await.unwrap().unwrap(), "two");
        assert_eq!(store.list("tile/entries/000.p").await.unwrap(), ["tile/entries/000.p/3"]);
        assert!(store.list("staging").await.unwrap().is_empty());
        store.remove("tile/entries/000.p/3").await.unwrap();
        store.remove("tile/entries/000.p/3").await.unwrap();
        assert!(store.list("tile/entries/000.p").await.unwrap().is_empty());
        assert_eq!(store.get("tile/entries/000").await.unwrap().unwrap(), "whole");
    }

    #[tokio::test]
    async fn a_directory_is_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/log");
        is_a_store(&ObjectsAt::new(path.to_str().unwrap()).unwrap()).await;
        assert_eq!(std::fs::read(path.join("tile/entries/000")).unwrap(), b"whole");
        let again = ObjectsAt::new(&format!("file://{}", path.display())).unwrap();
        assert_eq!(again.get("tile/entries/000").await.unwrap().unwrap(), "whole");
    }

    #[tokio::test]
    async fn memory_is_a_store() {
        is_a_store(&crate::MemoryStore::default()).await;
    }

    #[tokio::test]
    async fn a_prefix_in_a_bucket_is_a_store() {
        let bucket = Arc::new(object_store::memory::InMemory::new());
        is_a_store(&ObjectsAt { store: bucket.clone(), prefix: Path::from("team/evenkeel") }).await;
        is_a_store(&ObjectsAt { store: bucket, prefix: Path::default() }).await;
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert!(ObjectsAt::new("ftp://host/dir").unwrap_err().to_string().contains("s3://"));
    }
}
