//! The Go toolchain that builds the tools.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What every tool here can be built with.
const OLDEST: (u32, u32) = (1, 26);

const HOW_TO_GET: &str = "install Go 1.26 or newer from go.dev/dl and put its bin directory on PATH";

/// The installed version, such as `go1.26.8`, if it is new enough.
pub(crate) fn version() -> Result<String> {
    let output = Command::new("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output();
    let output = output
        .with_context(|| format!("the test tools are built with Go, and there is no `go` on PATH: {HOW_TO_GET}"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match parse(&version) {
        Some(found) if found >= OLDEST => Ok(version),
        _ => bail!("Go is {version:?}, the test tools need 1.26: {HOW_TO_GET}"),
    }
}

fn parse(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix("go")?.split(['.', '-', ' ', 'r', 'b']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// `go` in `module`, with the settings that make a build depend on its inputs alone.
pub(crate) fn command(module: &Path, cgo: bool) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(module)
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-buildvcs=false")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", if cgo { "1" } else { "0" })
        .stdin(Stdio::null());
    command
}

/// Runs it, and gives its standard output; an error carries what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let telling: Vec<&str> = errors.lines().filter(|line| !line.starts_with("go: downloading")).collect();
        bail!("`go` failed ({}):\n{}", output.status, telling.join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn versions_are_read_with_and_without_a_patch_number() {
        assert_eq!(parse("go1.26.8"), Some((1, 26)));
        assert_eq!(parse("go1.27rc1"), Some((1, 27)));
        assert_eq!(parse("go2.0"), Some((2, 0)));
        assert_eq!(parse(""), None);
    }
}
