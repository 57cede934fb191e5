//! `evenkeel audit verify|show|export|key`, and the log that the configuration names.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use chrono::SecondsFormat;
use evenkeel_audit::{Checkpoint, Findings, MessageKey, ObjectsAt, Record, SigningKey, Store, VerifyingKey};
use evenkeel_runtime::terminal;
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use crate::args::{Audit, AuditLog, Format};
use crate::config::Config;
use crate::output::{self, Table, Tone};

/// Exit code when a log can't be read at all.
const UNREADABLE: u8 = 2;
/// Faults that are printed; the rest is counted.
const PRINTED: usize = 20;

/// A log that is kept.
pub(crate) struct Log {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) key: Arc<SigningKey>,
    /// What authenticates records of gateways that have another key.
    pub(crate) accepted: Vec<MessageKey>,
}

/// The log that the configuration asks for.
pub(crate) fn configured(config: &evenkeel_audit::Config) -> Result<Option<Log>> {
    config.check()?;
    let (Some(store), Some(file)) = (&config.store, &config.key_file) else {
        tracing::warn!("no audit log is kept: audit.store and audit.keyFile are not set");
        return Ok(None);
    };
    let read = |of: &str, file: &Path| signing_key(file).with_context(|| format!("{of}: {}", file.display()));
    let key = read("audit.keyFile", file)?;
    let others = config.accept_key_files.iter();
    let accepted =
        others.map(|file| Ok(MessageKey::of(&read("audit.acceptKeyFiles", file)?))).collect::<Result<_>>()?;
    let store = ObjectsAt::new(store).context("audit.store")?;
    Ok(Some(Log { store: Arc::new(store), key: Arc::new(key), accepted }))
}

fn signing_key(file: &Path) -> Result<SigningKey> {
    Ok(SigningKey::parse(&std::fs::read_to_string(file)?)?)
}

pub(crate) async fn run(command: &Audit) -> Result<ExitCode> {
    match command {
        Audit::Verify { log, checkpoint, at_least, json } => match verify(log, checkpoint, *at_least, *json).await {
            Ok(true) => Ok(ExitCode::SUCCESS),
            Ok(false) => Ok(ExitCode::FAILURE),
            Err(error) => {
                output::warn(&output::causes(&error));
                Ok(ExitCode::from(UNREADABLE))
            }
        },
        Audit::Show { log, remediation, checkpoint, output } => {
            show(log, remediation.as_deref(), *checkpoint, *output).await?;
            Ok(ExitCode::SUCCESS)
        }
        Audit::Export { log, to } => {
            export(log, to).await?;
            Ok(ExitCode::SUCCESS)
        }
        Audit::Key { name, out } => {
            make_key(name, out)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Where the log is and what verifies it, as the command line or the configuration says.
fn open(log: &AuditLog) -> Result<(ObjectsAt, VerifyingKey)> {
    let config = match (&log.place, &log.key) {
        (Some(_), Some(_)) => evenkeel_audit::Config::default(),
        _ => Config::load_or_default(log.config.as_deref())?.audit,
    };
    let place = log.place.as_ref().or(config.store.as_ref());
    let place = place.context("expected where the log is, found nothing: give PLACE, or --config with audit.store")?;
    // A place that is not there is a mistake, and must not be made by looking at it.
    let directory = place.strip_prefix("file://").unwrap_or(place);
    if !directory.contains("://") && !Path::new(directory).is_dir() {
        bail!("{place}: no such directory");
    }
    let key = match (&log.key, &config.key_file) {
        (Some(key), _) => verifying_key(key).context("--key")?,
        (None, Some(file)) => {
            signing_key(file).with_context(|| format!("audit.keyFile: {}", file.display()))?.public().clone()
        }
        (None, None) => {
            bail!("expected the log's public key, found nothing: give --key, or --config with audit.keyFile")
        }
    };
    Ok((ObjectsAt::new(place)?, key))
}

/// The key itself, or a file with it.
fn verifying_key(key: &str) -> Result<VerifyingKey> {
    match VerifyingKey::parse(key) {
        Ok(key) => Ok(key),
        Err(error) if !Path::new(key).exists() => Err(error.into()),
        Err(_) => Ok(VerifyingKey::parse(&std::fs::read_to_string(key)?)?),
    }
}

async fn verify(log: &AuditLog, checkpoints: &[PathBuf], at_least: u64, json: bool) -> Result<bool> {
    let (store, key) = open(log)?;
    let mut kept = Vec::new();
    for file in checkpoints {
        kept.push(std::fs::read_to_string(file).with_context(|| format!("--checkpoint {}", file.display()))?);
    }
    let findings = evenkeel_audit::verify(&store, &key, &kept).await?.expecting(at_least);
    let told = if json { format!("{:#}\n", as_json(&findings)) } else { told(&findings, &key) };
    output::print(&told)?;
    Ok(findings.faults.is_empty())
}

fn told(findings: &Findings, key: &VerifyingKey) -> String {
    let mut out = String::new();
    for fault in findings.faults.iter().take(PRINTED) {
        let _ = writeln!(out, "{fault}");
    }
    let faults = findings.faults.len();
    if faults > PRINTED {
        let _ = writeln!(out, "and {} more", faults - PRINTED);
    }
    let _ = match &findings.checkpoint {
        Some(checkpoint) if faults == 0 => {
            writeln!(out, "whole: {} records, root {}, signed by {}", checkpoint.size, checkpoint.root, key.name())
        }
        _ => writeln!(out, "NOT whole: {faults} findings"),
    };
    out
}

fn as_json(findings: &Findings) -> Value {
    json!({
        "whole": findings.faults.is_empty(),
        "records": findings.checkpoint.as_ref().map(|it| it.size),
        "root": findings.checkpoint.as_ref().map(|it| it.root.to_string()),
        "findings": findings.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

async fn checkpoint(store: &ObjectsAt, key: &VerifyingKey) -> Result<Checkpoint> {
    let note = store.get("checkpoint").await?.context("there is no checkpoint: nothing was sealed yet")?;
    let note = std::str::from_utf8(&note).context("checkpoint")?;
    Checkpoint::open(note, key).context("checkpoint")
}

async fn show(log: &AuditLog, remediation: Option<&str>, only_checkpoint: bool, format: Format) -> Result<()> {
    let (store, key) = open(log)?;
    let checkpoint = checkpoint(&store, &key).await?;
    if only_checkpoint {
        return output::print(&checkpoint.note);
    }
    let mut stored = evenkeel_audit::records(&store, checkpoint.size);
    let mut items = Vec::new();
    while let Some((index, record)) = stored.try_next().await? {
        let mut item: Value = serde_json::from_slice(&record).with_context(|| format!("record {index} is not JSON"))?;
        if remediation.is_some_and(|name| item.get("remediation").and_then(Value::as_str) != Some(name)) {
            continue;
        }
        if let Some(fields) = item.as_object_mut() {
            fields.insert("index".to_owned(), index.into());
        }
        if format == Format::Jsonl {
            // A log need not fit into memory.
            output::print(&format!("{item}\n"))?;
        } else {
            items.push(item);
        }
    }
    if format == Format::Jsonl {
        return Ok(());
    }
    output::print(&output::render(format, &items, || table(&items).render(terminal::is_coloured()))?)
}

fn table(items: &[Value]) -> Table {
    let mut table = Table::new(&["INDEX", "AT", "WHAT", "REMEDIATION", "ACTION", "TARGET", "WHY"]);
    for item in items {
        let mut fields = item.clone();
        let index = fields.as_object_mut().and_then(|fields| fields.remove("index")).unwrap_or_default();
        let Ok(record) = serde_json::from_value::<Record>(fields) else {
            table.row([(index.to_string(), Tone::Plain), ("another version's".to_owned(), Tone::Faint)]);
            continue;
        };
        let what = match record.phase {
            Some(phase) => format!("{:?} {phase}", record.kind),
            None => format!("{:?}", record.kind),
        };
        let cells = [
            index.to_string(),
            record.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            what,
            record.remediation.unwrap_or_default(),
            record.action.map(|action| action.to_string()).unwrap_or_default(),
            record.target.map(|target| target.to_string()).unwrap_or_default(),
            record.reason,
        ];
        table.row(cells.map(|cell| (cell, Tone::Plain)));
    }
    table
}

async fn export(log: &AuditLog, to: &Path) -> Result<()> {
    let (store, key) = open(log)?;
    if std::fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{}: expected an empty directory, or none", to.display());
    }
    let checkpoint = checkpoint(&store, &key).await?;
    let copy = ObjectsAt::new(to.to_str().context("--to is not UTF-8")?)?;
    evenkeel_audit::export(&store, &copy, &checkpoint).await?;
    let findings = evenkeel_audit::verify(&copy, &key, &[]).await?;
    if !findings.faults.is_empty() {
        output::warn(&format!("the copy is not whole, as the log was not: evenkeel audit verify {}", to.display()));
    }
    output::print(&format!("{} records in {}\n", checkpoint.size, to.display()))
}

fn make_key(name: &str, out: &Path) -> Result<()> {
    let key = SigningKey::generate(name)?;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(out);
    let mut file = file.with_context(|| out.display().to_string())?;
    writeln!(file, "{}", key.secret_text()).and_then(|()| file.sync_all()).context("writing the key")?;
    output::print(&format!("{}\n", key.public()))
}

#[cfg(test)]
mod tests {
    use evenkeel_audit::{Kind, LogParts};
    use evenkeel_bus::{BucketName, Bus as _, Cluster, MemoryBus, MemoryOptions};
    use evenkeel_model::{ActionName, FixedClock, ObjectRef, Phase};

    use super::*;
    use crate::testing::at;

    fn record(n: i64) -> Record {
        let phase = [Phase::Claimed, Phase::Executing, Phase::Verifying][n as usize % 3];
        let mut record = Record::new(format!("r-{n}"), at(n * 60), "prod", Kind::Phase, format!("reason {n}"));
        record.remediation = Some(format!("r-{}", n / 3));
        record.phase = Some(phase);
        record.action = Some(ActionName::RollbackWorkload);
        record.target = Some(ObjectRef::namespaced(evenkeel_model::Kind::Deployment, "shop", "cart"));
        record
    }

    /// A log of so many records in a directory, and its key in a file.
    async fn log(dir: &Path, records: i64) -> AuditLog {
        let secret = dir.join("key");
        make_key("audit.prod", &secret).unwrap();
        let key = signing_key(&secret).unwrap();
        let public = key.public().to_string();
        let place = dir.join("log").to_str().unwrap().to_owned();
        let clock = Arc::new(FixedClock::new(at(0)));
        let bus = MemoryBus::new(MemoryOptions::new(Cluster::new("prod").unwrap(), clock));
        let parts = LogParts {
            store: Arc::new(ObjectsAt::new(&place).unwrap()),
            bucket: bus.bucket(BucketName::Audit).await.unwrap(),
            key: Arc::new(key),
        };
        let records: Vec<_> = (0..records).map(|n| record(n).encode().unwrap()).collect();
        evenkeel_audit::Log::open(parts).await.unwrap().append(&records).await.unwrap();
        AuditLog { place: Some(place), key: Some(public), config: None }
    }

    #[tokio::test]
    async fn a_whole_log_verifies_and_a_changed_one_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), 300).await;
        assert!(verify(&log, &[], 0, false).await.unwrap());
        let bundle = dir.path().join("log/tile/entries/000");
        let mut bytes = std::fs::read(&bundle).unwrap();
        let place = bytes.windows(10).position(|text| text == b"reason 17\"").unwrap();
        bytes[place + 7] = b'7';
        std::fs::write(&bundle, bytes).unwrap();
        let (store, key) = open(&log).unwrap();
        let findings = evenkeel_audit::verify(&store, &key, &[]).await.unwrap();
        insta::assert_snapshot!(told(&findings, &key), @r"
        tile/entries/000: record 17 was changed
        NOT whole: 1 findings
        ");
        assert!(!verify(&log, &[], 0, true).await.unwrap());
        let command = Audit::Verify { log, checkpoint: Vec::new(), at_least: 0, json: false };
        assert_eq!(format!("{:?}", run(&command).await.unwrap()), format!("{:?}", ExitCode::FAILURE));
    }

    #[tokio::test]
    async fn a_copy_is_verified_with_the_public_key_and_a_checkpoint_kept_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), 300).await;
        let to = dir.path().join("copy");
        export(&log, &to).await.unwrap();
        assert!(export(&log, &to).await.is_err(), "it is not empty");
        let kept = dir.path().join("kept");
        std::fs::copy(to.join("checkpoint"), &kept).unwrap();
        let copy = AuditLog { place: Some(to.to_str().unwrap().to_owned()), ..log };
        assert!(verify(&copy, &[kept], 300, false).await.unwrap());
        assert!(!verify(&copy, &[], 301, false).await.unwrap());
    }

    #[test]
    fn records_read_as_a_list() {
        let items: Vec<Value> = (0..3)
            .map(|n| {
                let mut item = serde_json::to_value(record(n)).unwrap();
                item["index"] = n.into();
                item
            })
            .chain([json!({"index": 3, "of": "the future"})])
            .collect();
        insta::assert_snapshot!(table(&items).render(false));
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_and_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path(), 1).await;
        let nowhere = dir.path().join("nowhere");
        log.place = Some(nowhere.to_str().unwrap().to_owned());
        assert!(verify(&log, &[], 0, false).await.unwrap_err().to_string().contains("no such directory"));
        assert!(!nowhere.exists());
        let command = Audit::Verify { log, checkpoint: Vec::new(), at_least: 0, json: false };
        assert_eq!(format!("{:?}", run(&command).await.unwrap()), format!("{:?}", ExitCode::from(UNREADABLE)));
    }

    #[test]
    fn a_key_is_for_its_owner_alone_and_is_not_overwritten() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        make_key("audit.prod", &file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(make_key("audit.prod", &file).is_err());
    }
}
