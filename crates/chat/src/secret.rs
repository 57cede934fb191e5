use std::path::{Path, PathBuf};

/// A file with secrets larger than this is none.
const MAX_BYTES: u64 = 16 * 1024;
/// So many secrets may be valid at once: the one in use and the one that replaces it.
const MAX_SECRETS: usize = 4;

/// A file with a secret is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{path}: expected {expected}: {found}", path = path.display())]
pub struct SecretFileError {
    /// The file.
    path: PathBuf,
    /// What belongs there.
    expected: &'static str,
    /// What is there, without showing it.
    found: String,
}

/// The lines of a file that are not empty, read anew each time: a secret that is replaced in its
/// file is replaced here, with nothing restarted.
pub(crate) async fn lines(path: &Path) -> Result<Vec<String>, SecretFileError> {
    let expected = "one secret a line, at most 4";
    let bad = |found: String| SecretFileError { path: path.to_owned(), expected, found };
    let size = tokio::fs::metadata(path).await.map_err(|error| bad(error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(bad(format!("{size} bytes")));
    }
    let text = tokio::fs::read_to_string(path).await.map_err(|error| bad(error.to_string()))?;
    let lines: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if lines.is_empty() || lines.len() > MAX_SECRETS {
        return Err(bad(format!("{} lines", lines.len())));
    }
    Ok(lines)
}

/// The first line that is not empty, read anew each time.
pub(crate) async fn first(path: &Path) -> Result<String, SecretFileError> {
    let mut lines = lines(path).await?;
    Ok(lines.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_next_is_what_is_read_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let error = first(&path).await.unwrap_err().to_string();
        assert!(error.contains("token: expected one secret a line"), "{error}");
        std::fs::write(&path, "\n one \n").unwrap();
        assert_eq!(first(&path).await.unwrap(), "one");
        std::fs::write(&path, "two\none\n").unwrap();
        assert_eq!(lines(&path).await.unwrap(), ["two", "one"]);
        std::fs::write(&path, "  \n").unwrap();
        let error = lines(&path).await.unwrap_err().to_string();
        assert!(error.ends_with("0 lines"), "{error}");
        std::fs::write(&path, "s3cret\n".repeat(5)).unwrap();
        let error = lines(&path).await.unwrap_err().to_string();
        assert!(error.ends_with("5 lines") && !error.contains("s3cret"), "{error}");
        std::fs::write(&path, "x".repeat(20_000)).unwrap();
        assert!(lines(&path).await.is_err());
    }
}
