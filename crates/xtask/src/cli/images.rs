//! `cargo xtask images`.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::cluster::{Images, PREFIX};
use crate::tools::{Family, Toolbox};
use crate::ui;

const LOADING: &str = "\
Load it into the nodes of the cluster that `cargo xtask test --kubeconfig` is to use:
  kind load image-archive FILE
  k3d image import FILE
  ctr --namespace k8s.io images import FILE
or into an engine that pushes to where they pull from:
  docker load --input FILE && docker push PREFIX/app:v1 …";

#[derive(Debug, Args)]
#[command(after_help = LOADING)]
pub(super) struct Arguments {
    /// The file to write, an OCI archive that docker reads too
    #[arg(long, value_name = "FILE")]
    archive: PathBuf,
    /// What the images are called: PREFIX/app:TAG
    #[arg(long, value_name = "PREFIX", default_value = PREFIX, value_parser = prefix)]
    image_prefix: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let tools = Toolbox::ensure(&[Family::App])?;
    let kept = tempfile::Builder::new().prefix("evenkeel-images-").tempdir()?;
    let images = Images::keep(kept.path().to_path_buf(), tools.program("app")?.to_path_buf())?;
    images.add_usual()?;
    let name = arguments.archive.display();
    let file = File::create(&arguments.archive).with_context(|| format!("creating {name}"))?;
    for reference in images.export(&arguments.image_prefix, BufWriter::new(file))? {
        ui::result(reference);
    }
    ui::say(format_args!("wrote {name}; `cargo xtask images --help` says how to load it"));
    Ok(())
}

/// What may stand before `/app:TAG`: a registry's host, with a path or without.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/:".contains(c);
    let whole = text.split('/').all(|part| !part.is_empty());
    if text.contains("://") || !whole || !text.chars().all(plain) {
        return Err("expected HOST[:PORT][/PATH] in lower case, such as localhost:5001/evenkeel".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_host_and_a_path_and_no_url() {
        for good in ["registry.example", "localhost:5001", "localhost:5001/even/keel"] {
            assert_eq!(prefix(good).as_deref(), Ok(good));
        }
        for bad in ["", "https://registry.example", "registry.example/", "/a", "Registry.example"] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}
