use std::fmt;
use std::path::{Path, PathBuf};

/// A secret, read from a file. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A secret's file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It can't be read.
    #[error("{key}: {path} can't be read: {source}")]
    Read {
        /// The configuration key that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{key}: expected a secret in {path}, found nothing")]
    Empty {
        /// The configuration key that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
}

impl Secret {
    /// Reads a file named by the configuration key `key`; white space around the secret is not
    /// part of it.
    ///
    /// # Errors
    /// When the file can't be read or is empty.
    pub fn read(key: &'static str, path: &Path) -> Result<Self, SecretError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| SecretError::Read { key, path: path.to_owned(), source })?;
        match text.trim() {
            "" => Err(SecretError::Empty { key, path: path.to_owned() }),
            secret => Ok(Self(secret.to_owned())),
        }
    }

    /// The secret itself, for whom it is sent to.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_without_its_line_end_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = Secret::read("bus.jetstream.passwordFile", &path).unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(format!("{secret:?}"), "[redacted]");
    }

    #[test]
    fn an_error_names_key_and_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let error = Secret::read("bus.jetstream.passwordFile", &path).unwrap_err().to_string();
        assert!(
            error.starts_with("bus.jetstream.passwordFile: ") && error.contains("password can't be read"),
            "{error}"
        );
        std::fs::write(&path, " \n").unwrap();
        assert!(Secret::read("k", &path).unwrap_err().to_string().contains("found nothing"));
    }
}
