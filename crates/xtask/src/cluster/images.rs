//! Images of the test application, written by hand: no container engine is needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::plan::{Plan, write};

/// What stands before `/app:TAG` in the references of test images: the host that a real node of ours pulls from.
pub const PREFIX: &str = "registry.example";

/// What the registry serves; it may change while the cluster runs.
#[derive(Debug, Clone)]
pub struct Images {
    dir: PathBuf,
    layer: Blob,
    /// Digest of the uncompressed layer, which is the layer itself.
    app: PathBuf,
}

/// A stored file by its content.
#[derive(Debug, Clone)]
struct Blob {
    digest: String,
    size: usize,
}

impl Images {
    pub(super) fn open(plan: &Plan) -> Result<Self> {
        Self::keep(plan.path("registry"), plan.program("app")?.to_path_buf())
    }

    /// Images of the application, to be kept in a directory.
    pub(crate) fn keep(dir: PathBuf, app: PathBuf) -> Result<Self> {
        let layer = store(&dir, &layer(&app)?)?;
        Ok(Self { dir, layer, app })
    }

    /// What tests use. `registry.example/app:` v1 and v2 serve, v1-strict and v2-strict only while `MODE` is not `bad`,
    /// crash, oom, unready, sleep do as they say; `registry.example/pause:v1` holds sandboxes.
    pub(crate) fn add_usual(&self) -> Result<()> {
        self.add("registry.example/pause:v1", &["pause"], &[])?;
        for version in ["v1", "v2"] {
            let name = format!("registry.example/app:{version}");
            self.add(&name, &["serve", "--version", version], &[])?;
            self.add(&format!("{name}-strict"), &["serve", "--version", version, "--fail-env", "MODE"], &[])?;
        }
        for role in ["crash", "oom", "unready", "sleep"] {
            self.add(&format!("registry.example/app:{role}"), &[role], &[])?;
        }
        Ok(())
    }

    /// Adds or replaces an image that runs the test application with these arguments: its role, then flags. A
    /// container's own `args` come after them.
    ///
    /// # Errors
    /// The reference is not `registry.example/NAME:TAG`, or a file cannot be written.
    pub fn add(&self, reference: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
        let tag = self.tag_file(reference)?;
        let entrypoint: Vec<&str> = ["/app"].into_iter().chain(arguments.iter().copied()).collect();
        let environment: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let config = self.store(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "WorkingDir": "/", "Env": environment},
            "rootfs": {"type": "layers", "diff_ids": [self.layer.digest]},
        }))?;
        let manifest = self.store(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.digest, "size": config.size},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": self.layer.digest, "size": self.layer.size}],
        }))?;
        write(&tag, manifest.digest)
    }

    /// Removes an image: the next pull fails as it does for a tag that never was.
    ///
    /// # Errors
    /// There is no such image.
    pub fn remove(&self, reference: &str) -> Result<()> {
        let tag = self.tag_file(reference)?;
        std::fs::remove_file(tag).with_context(|| format!("there is no image {reference}"))
    }

    /// The program inside the images.
    #[must_use]
    pub fn app(&self) -> &Path {
        &self.app
    }

    fn tag_file(&self, reference: &str) -> Result<PathBuf> {
        let below = reference.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('/'));
        let name_and_tag = below.and_then(|rest| rest.rsplit_once(':'));
        let Some((name, tag)) =
            name_and_tag.filter(|(name, tag)| is_plain(name) && is_plain(tag) && !tag.contains('/'))
        else {
            bail!("expected an image reference {PREFIX}/NAME:TAG, found {reference:?}");
        };
        Ok(self.dir.join("tags").join(name).join(tag))
    }

    /// The file that holds what a digest names.
    pub(super) fn blob(&self, digest: &str) -> Result<PathBuf> {
        let hash = digest.strip_prefix("sha256:").with_context(|| format!("expected sha256:…, found {digest:?}"))?;
        Ok(self.dir.join("blobs/sha256").join(hash))
    }

    /// Every image: `NAME:TAG`, and its manifest's digest.
    pub(super) fn all(&self) -> Result<BTreeMap<String, String>> {
        let tags = self.dir.join("tags");
        let mut all = BTreeMap::new();
        let mut open = vec![tags.clone()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                let name = path.strip_prefix(&tags)?.to_string_lossy().into_owned();
                let (name, tag) = name.rsplit_once('/').context("a tag that belongs to no name")?;
                all.insert(format!("{name}:{tag}"), std::fs::read_to_string(&path)?);
            }
        }
        Ok(all)
    }

    fn store(&self, document: &Value) -> Result<Blob> {
        store(&self.dir, &serde_json::to_vec(document)?)
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.contains("..")
        && !name.starts_with('/')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
}

fn store(dir: &Path, bytes: &[u8]) -> Result<Blob> {
    let hash = hex::encode(Sha256::digest(bytes));
    let file = dir.join("blobs/sha256").join(&hash);
    if !file.exists() {
        let unfinished = file.with_extension("unfinished");
        write(&unfinished, bytes)?;
        std::fs::rename(&unfinished, &file)?;
    }
    Ok(Blob { digest: format!("sha256:{hash}"), size: bytes.len() })
}

/// The program as `/app`, and a `/tmp`; the same bytes for the same program.
fn layer(app: &Path) -> Result<Vec<u8>> {
    let program = std::fs::read(app).with_context(|| format!("reading {}", app.display()))?;
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8]| -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(u64::try_from(content.len())?);
        header.set_mtime(0);
        Ok(archive.append_data(&mut header, path, content)?)
    };
    add("tmp", tar::EntryType::Directory, 0o1777, &[])?;
    add("app", tar::EntryType::Regular, 0o755, &program)?;
    Ok(archive.into_inner()?)
}

/// As image configurations name it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(dir: &Path) -> Images {
        let app = dir.join("app");
        std::fs::write(&app, "program").unwrap();
        Images { layer: store(dir, &layer(&app).unwrap()).unwrap(), dir: dir.to_path_buf(), app }
    }

    #[test]
    fn a_tag_leads_to_a_manifest_that_names_what_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let images = images(dir.path());
        images.add("registry.example/shop/web:v1", &["serve"], &[("A", "b")]).unwrap();
        let digest = std::fs::read_to_string(dir.path().join("tags/shop/web/v1")).unwrap();
        let blob =
            |digest: &str| std::fs::read(dir.path().join("blobs/sha256").join(&digest["sha256:".len()..])).unwrap();
        let manifest: Value = serde_json::from_slice(&blob(&digest)).unwrap();
        let config: Value = serde_json::from_slice(&blob(manifest["config"]["digest"].as_str().unwrap())).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/app", "serve"]));
        assert_eq!(config["config"]["Env"], json!(["A=b"]));
        let layer = blob(manifest["layers"][0]["digest"].as_str().unwrap());
        assert_eq!(manifest["layers"][0]["size"], layer.len());
    }

    #[test]
    fn a_removed_image_is_gone_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let images = images(dir.path());
        images.add("registry.example/a:v1", &[], &[]).unwrap();
        images.add("registry.example/a:v2", &[], &[]).unwrap();
        images.remove("registry.example/a:v1").unwrap();
        assert!(images.remove("registry.example/a:v1").is_err());
        assert!(dir.path().join("tags/a/v2").exists());
    }

    #[test]
    fn a_reference_cannot_lead_out_of_the_registry() {
        let dir = tempfile::tempdir().unwrap();
        for bad in [
            "registry.example/../x:v1",
            "other.example/a:v1",
            "registry.example/a",
            "registry.example//a:v1",
            "registry.example/a:v/1",
        ] {
            assert!(images(dir.path()).add(bad, &[], &[]).is_err(), "{bad}");
        }
    }
}
