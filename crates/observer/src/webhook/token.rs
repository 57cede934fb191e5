use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// The shortest time between two readings of the file on a request's account.
const READ_AGAIN: Duration = Duration::from_secs(1);

type Hash = [u8; 32];

/// Bearer tokens from a file, one a line.
#[derive(Debug)]
pub(crate) struct Tokens {
    path: PathBuf,
    /// Hashes, so that what is compared has one length.
    hashes: RwLock<Vec<Hash>>,
    read_at: Mutex<Instant>,
}

/// A token file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTokenFile {
    /// It can't be read.
    #[error("bearer token file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// It holds no token.
    #[error("bearer token file {path}: expected a token of at least 16 characters in each line, found {found}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// [`BadTokenFile`] when it can't be read or holds no token.
    pub(crate) async fn read(path: PathBuf) -> Result<Self, BadTokenFile> {
        let hashes = RwLock::new(hashes(&path).await?);
        Ok(Self { path, hashes, read_at: Mutex::new(Instant::now()) })
    }

    /// Whether the request brings one of the tokens. After a miss the file is read again, since
    /// Alertmanager does not repeat what was refused with 401.
    pub(crate) async fn admit(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let Some(value) = headers.get(AUTHORIZATION) else { return Err("none") };
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let Some(token) = token else { return Err("another scheme") };
        let hash: Hash = Sha256::digest(token).into();
        if self.knows(&hash) {
            return Ok(());
        }
        if self.may_read_again() {
            self.refresh().await;
            if self.knows(&hash) {
                return Ok(());
            }
        }
        Err("another token")
    }

    /// Reads the file again; what can't be used leaves the tokens there are.
    pub(crate) async fn refresh(&self) {
        match hashes(&self.path).await {
            Ok(new) => *self.hashes.write().unwrap_or_else(PoisonError::into_inner) = new,
            Err(error) => tracing::warn!(%error, "keeping the tokens read before"),
        }
    }

    fn may_read_again(&self) -> bool {
        let mut read_at = self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let may = now.duration_since(*read_at) >= READ_AGAIN;
        if may {
            *read_at = now;
        }
        may
    }

    /// Compares with every token in full: the time taken does not tell how near a guess was.
    fn knows(&self, found: &Hash) -> bool {
        let hashes = self.hashes.read().unwrap_or_else(PoisonError::into_inner);
        hashes.iter().fold(false, |known, hash| {
            let differing = hash.iter().zip(found).fold(0_u8, |bits, (a, b)| bits | (a ^ b));
            known | (std::hint::black_box(differing) == 0)
        })
    }
}

async fn hashes(path: &Path) -> Result<Vec<Hash>, BadTokenFile> {
    let text =
        tokio::fs::read_to_string(path).await.map_err(|source| BadTokenFile::Read { path: path.to_owned(), source })?;
    let bad = |found| BadTokenFile::Content { path: path.to_owned(), found };
    let tokens: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if tokens.is_empty() {
        return Err(bad("no line"));
    }
    if tokens.iter().any(|token| token.len() < 16) {
        return Err(bad("a shorter one"));
    }
    Ok(tokens.iter().map(|token| Sha256::digest(token).into()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearing(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_put_into_the_file_is_taken_and_one_taken_out_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, "first-token-of-the-test\n").unwrap();
        let tokens = Tokens::read(path.clone()).await.unwrap();
        let (first, second) = (bearing("Bearer first-token-of-the-test"), bearing("bearer second-token-of-the-test"));
        assert_eq!(tokens.admit(&first).await, Ok(()));
        assert_eq!(tokens.admit(&second).await, Err("another token"));
        std::fs::write(&path, "second-token-of-the-test\n").unwrap();
        assert_eq!(tokens.admit(&second).await, Err("another token"), "the file was read just now");
        tokio::time::advance(READ_AGAIN).await;
        assert_eq!(tokens.admit(&second).await, Ok(()));
        assert_eq!(tokens.admit(&first).await, Err("another token"));
        std::fs::write(&path, "").unwrap();
        tokens.refresh().await;
        assert_eq!(tokens.admit(&second).await, Ok(()), "an empty file locks nobody out");
    }

    #[tokio::test]
    async fn other_schemes_and_nothing_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, "first-token-of-the-test").unwrap();
        let tokens = Tokens::read(path).await.unwrap();
        assert_eq!(tokens.admit(&HeaderMap::new()).await, Err("none"));
        assert_eq!(tokens.admit(&bearing("Basic first-token-of-the-test")).await, Err("another scheme"));
        assert_eq!(tokens.admit(&bearing("Bearer ")).await, Err("another token"));
    }

    #[tokio::test]
    async fn a_file_without_a_proper_token_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        assert!(matches!(Tokens::read(path.clone()).await, Err(BadTokenFile::Read { .. })));
        std::fs::write(&path, "\n\n").unwrap();
        assert!(matches!(Tokens::read(path.clone()).await, Err(BadTokenFile::Content { found: "no line", .. })));
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(Tokens::read(path).await, Err(BadTokenFile::Content { found: "a shorter one", .. })));
    }
}
