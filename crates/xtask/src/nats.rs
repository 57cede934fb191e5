//! One nats-server with JetStream, for tests that need no cluster.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::ports;
use crate::proc::{Launch, Process};
use crate::tools::{Family, Toolbox};
use crate::wait;

/// How long a server may take to answer.
pub(crate) const READY: Duration = Duration::from_secs(30);

/// What a server is to be.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    /// Appended to the configuration file: users and their permissions, limits, …
    pub config: Option<String>,
    /// Where its store, configuration and log live; a temporary directory otherwise.
    pub dir: Option<PathBuf>,
    /// A port to listen on; a free one otherwise.
    pub port: Option<u16>,
}

/// A server that ends with its owner.
#[derive(Debug)]
pub struct Server {
    /// `nats://127.0.0.1:PORT`, the same after every start.
    pub url: String,
    port: u16,
    launch: Launch,
    process: Option<Process>,
    dir: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl Server {
    /// Builds nats-server if need be and starts one; it answers when this returns.
    ///
    /// # Errors
    /// The tool cannot be built, or the server does not come up; the message has the end of its log.
    pub fn start(options: NatsOptions) -> Result<Self> {
        let tools = Toolbox::ensure(&[Family::Nats])?;
        let (dir, temporary) = match options.dir {
            Some(dir) => (dir, None),
            None => {
                let temporary = tempfile::Builder::new().prefix("evenkeel-nats-").tempdir()?;
                (temporary.path().to_path_buf(), Some(temporary))
            }
        };
        let port = match options.port {
            Some(port) => port,
            None => *ports::free(1)?.first().context("no free port")?,
        };
        let launch = launch(tools.program("nats-server")?, &dir, port, options.config.as_deref())?;
        let mut server = Self { url: format!("nats://127.0.0.1:{port}"), port, launch, process: None, dir, temporary };
        server.restart()?;
        Ok(server)
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`], on the same port and store. Does nothing if it runs.
    ///
    /// # Errors
    /// It does not come up.
    pub fn restart(&mut self) -> Result<()> {
        if let Some(process) = &mut self.process
            && !process.has_ended()?
        {
            return Ok(());
        }
        let process = self.process.insert(self.launch.start()?);
        let port = self.port;
        wait::until("nats-server to answer", READY, || {
            process.check()?;
            Ok(answers(port).then_some(()))
        })
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.stop(Duration::from_secs(10)),
            None => Ok(()),
        }
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// The directory that holds its store, configuration and log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Everything it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.launch.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its store goes with it, unless the caller named the directory.
        let ended = if self.temporary.is_some() { self.kill() } else { self.stop() };
        if let Err(error) = ended {
            crate::ui::say(format_args!("nats-server did not end: {error:#}"));
        }
    }
}

/// Writes the configuration below `dir` and says how to start the server.
pub(crate) fn launch(program: &Path, dir: &Path, port: u16, extra: Option<&str>) -> Result<Launch> {
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let file = dir.join("nats.conf");
    std::fs::write(&file, config(dir, port, extra)).with_context(|| format!("writing {}", file.display()))?;
    Ok(Launch {
        program: program.to_path_buf(),
        args: vec!["--config".to_owned(), file.display().to_string()],
        env: Vec::new(),
        log: dir.join("nats.log"),
    })
}

/// The store may reserve as much as it is asked to, however full the disk is: streams of tests stay small.
const MAX_FILE_STORE: &str = "64GB";

fn config(dir: &Path, port: u16, extra: Option<&str>) -> String {
    format!(
        "server_name: evenkeel-test\nhost: 127.0.0.1\nport: {port}\njetstream {{\n  store_dir: \"{}\"\n  sync_interval: always\n  max_file_store: {MAX_FILE_STORE}\n}}\n{}\n",
        dir.join("jetstream").display(),
        extra.unwrap_or_default(),
    )
}

/// Whether a server says INFO there, with JetStream up.
pub(crate) fn answers(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    if stream.set_read_timeout(Some(Duration::from_secs(2))).is_err() {
        return false;
    }
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok()
        && line.starts_with("INFO ")
        && line.contains("\"jetstream\":true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_syncs_every_write_and_extras_are_kept() {
        let text = config(Path::new("/d"), 4222, Some("max_payload: 1MB"));
        assert!(text.contains("sync_interval: always"));
        assert!(text.contains("store_dir: \"/d/jetstream\""));
        assert!(text.ends_with("max_payload: 1MB\n"));
    }
}
