//! Pinned test tools: found on this machine, or built once into the user's cache.

mod build;
mod catalog;
mod go;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use catalog::Family;

/// Where each program of the families asked for is.
#[derive(Debug, Clone, Default)]
pub struct Toolbox {
    programs: BTreeMap<String, PathBuf>,
}

impl Toolbox {
    /// Finds or builds these families. Safe to call from several processes at once.
    ///
    /// # Errors
    /// Go, a C compiler or a module is missing, or a build fails; the message says what to install.
    pub fn ensure(families: &[Family]) -> Result<Self> {
        let mut programs = BTreeMap::new();
        for family in families {
            for (name, path) in build::ensure(&family.recipe()).with_context(|| format!("tool family {family:?}"))? {
                programs.insert(name.to_owned(), path);
            }
        }
        Ok(Self { programs })
    }

    /// The program's file.
    ///
    /// # Errors
    /// Its family was not asked for.
    pub fn program(&self, name: &str) -> Result<&Path> {
        self.programs
            .get(name)
            .map(PathBuf::as_path)
            .with_context(|| format!("{name} belongs to a family that was not asked for"))
    }

    /// Every program's name and file.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.programs.iter().map(|(name, path)| (name.as_str(), path.as_path()))
    }
}
