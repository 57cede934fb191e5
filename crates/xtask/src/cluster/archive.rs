//! All test images as one file, for clusters that are not ours.
//!
//! It is an OCI image layout (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>), which
//! `ctr images import`, and through it `kind load image-archive` and `k3d image import`, reads by containerd's
//! annotation, with the `manifest.json` beside it that `docker load` asks for, as `docker save` writes both.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::images::{Images, architecture};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

impl Images {
    /// Writes the archive; images are called `PREFIX/NAME:TAG` in it. Gives their references.
    ///
    /// # Errors
    /// A stored file can't be read, or the archive not be written.
    pub fn export(&self, prefix: &str, to: impl Write) -> Result<Vec<String>> {
        let mut archive = tar::Builder::new(to);
        let (mut references, mut index, mut for_docker) = (Vec::new(), Vec::new(), Vec::new());
        let mut digests = BTreeSet::new();
        for (name, digest) in self.all()? {
            let reference = format!("{prefix}/{name}");
            let bytes = std::fs::read(self.blob(&digest)?).with_context(|| format!("the manifest of {name}"))?;
            let manifest: Value = serde_json::from_slice(&bytes)?;
            let config = text(&manifest, "/config/digest")?;
            let layer = text(&manifest, "/layers/0/digest")?;
            index.push(json!({
                "mediaType": MANIFEST,
                "digest": digest,
                "size": bytes.len(),
                "platform": {"architecture": architecture(), "os": "linux"},
                "annotations": {
                    "io.containerd.image.name": reference,
                    "org.opencontainers.image.ref.name": name.rsplit(':').next(),
                },
            }));
            for_docker.push(json!({
                "Config": below(&config), "RepoTags": [reference], "Layers": [below(&layer)],
            }));
            digests.extend([digest, config, layer]);
            references.push(reference);
        }
        add(&mut archive, "oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes())?;
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": index,
        });
        add(&mut archive, "index.json", index.to_string().as_bytes())?;
        add(&mut archive, "manifest.json", Value::from(for_docker).to_string().as_bytes())?;
        for digest in digests {
            let file = self.blob(&digest)?;
            add(
                &mut archive,
                &below(&digest),
                &std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?,
            )?;
        }
        archive.into_inner()?.flush()?;
        Ok(references)
    }
}

/// Where a digest's content lies in the archive.
fn below(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn text(document: &Value, pointer: &str) -> Result<String> {
    let found = document.pointer(pointer).and_then(Value::as_str);
    Ok(found.with_context(|| format!("a manifest without {pointer}"))?.to_owned())
}

fn add(archive: &mut tar::Builder<impl Write>, path: &str, content: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(u64::try_from(content.len())?);
    header.set_mtime(0);
    Ok(archive.append_data(&mut header, path, content)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    fn unpack(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        entries.collect()
    }

    #[test]
    fn both_indexes_name_each_image_and_everything_they_lead_to_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("program");
        std::fs::write(&app, "program").unwrap();
        let images = Images::keep(dir.path().join("images"), app).unwrap();
        images.add_usual().unwrap();
        let mut archive = Vec::new();
        let references = images.export("localhost:5001/tests", &mut archive).unwrap();
        assert!(references.contains(&"localhost:5001/tests/app:v1-strict".to_owned()), "{references:?}");
        let files = unpack(&archive);
        let json = |name: &str| -> Value { serde_json::from_slice(&files[name]).unwrap() };
        assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
        let (index, for_docker) = (json("index.json"), json("manifest.json"));
        let listed = index["manifests"].as_array().unwrap();
        assert_eq!(listed.len(), references.len());
        for ((entry, docker), reference) in listed.iter().zip(for_docker.as_array().unwrap()).zip(&references) {
            assert_eq!(entry["annotations"]["io.containerd.image.name"], *reference);
            assert_eq!(docker["RepoTags"], json!([reference]));
            let manifest = json(&below(entry["digest"].as_str().unwrap()));
            assert_eq!(docker["Config"], below(manifest["config"]["digest"].as_str().unwrap()));
            assert_eq!(docker["Layers"], json!([below(manifest["layers"][0]["digest"].as_str().unwrap())]));
            for file in [docker["Config"].as_str().unwrap(), docker["Layers"][0].as_str().unwrap()] {
                assert!(files.contains_key(file), "{file}");
            }
        }
    }
}
