//! What sealing and verifying cost, in memory and on a disk: `cargo bench -p evenkeel-audit`.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "a program for people who measure")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use evenkeel_audit::{Kind, Log, LogParts, MemoryStore, ObjectsAt, Record, SigningKey, Store, verify};
use evenkeel_bus::{BucketName, Bus as _, Cluster, MemoryBus, MemoryOptions};
use evenkeel_model::{ActionName, FixedClock, ObjectRef, Phase};
use serde_json::json;
use tokio::time::Instant;

const MANY: u64 = 100_000;
const ON_DISK: u64 = 20_000;
const SINGLE: u64 = 200;
const BATCH: usize = 256;

/// What a rollback's Remediation makes: a proposal, six phases, two requests, an outcome; the
/// one that carries the patch is the longest.
fn record(n: u64) -> Record {
    let at = DateTime::from_timestamp(1_800_000_000 + n as i64, 0).unwrap();
    let (phase, detail) = match n % 10 {
        0 => (
            Phase::Proposed,
            json!({"proposal": {"incident": format!("i-{n}"), "rationale": "x".repeat(200),
            "signals": ["KubeDeploymentRolloutStuck", "CrashLoopBackOff"], "playbook": {"name": "bad-rollout"}}}),
        ),
        3 => (
            Phase::Executing,
            json!({"plan": {"request": {"verb": "Patch", "body": [
                {"op": "test", "path": "/metadata/uid", "value": format!("{n:036}")},
                {"op": "replace", "path": "/spec/template", "value": {"spec": {"containers": [{
                    "name": "cart", "image": "registry.example.org/shop/cart:1.2.3",
                    "env": (0..10).map(|i| json!({"name": format!("SETTING_{i}"), "value": "v".repeat(30)})).collect::<Vec<_>>(),
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                }]}}},
            ]}}}),
        ),
        _ => (
            Phase::Verifying,
            json!({"verification": {"checks": [{"condition": "target.well is true", "holds": true}]}}),
        ),
    };
    let mut record = Record::new(
        format!("r-{n}/{phase}"),
        at,
        "prod",
        Kind::Phase,
        "rolled back to the last revision that was available",
    );
    record.remediation = Some(format!("r-{:020x}", n / 10));
    record.incident = Some(format!("i-{:020x}", n / 10));
    record.action = Some(ActionName::RollbackWorkload);
    record.target = Some(ObjectRef::namespaced(evenkeel_model::Kind::Deployment, "shop", "cart"));
    record.phase = Some(phase);
    record.detail = detail;
    record
}

async fn log(store: Arc<dyn Store>, key: &Arc<SigningKey>) -> Log {
    let clock = Arc::new(FixedClock::new(DateTime::UNIX_EPOCH));
    let bus = MemoryBus::new(MemoryOptions::new(Cluster::new("bench").unwrap(), clock));
    let bucket = bus.bucket(BucketName::Audit).await.unwrap();
    Log::open(LogParts { store, bucket, key: Arc::clone(key) }).await.unwrap()
}

async fn append(mut log: Log, records: &[Bytes], batch: usize) -> (Log, f64) {
    let begun = Instant::now();
    for records in records.chunks(batch) {
        log = log.append(records).await.unwrap();
    }
    let took = begun.elapsed().as_secs_f64();
    (log, took)
}

fn a_second(records: usize, took: f64) -> String {
    format!("{:.0} records/s ({records} in {took:.2} s)", records as f64 / took)
}

fn on_disk(dir: &Path) -> (u64, u64) {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.fold((0, 0), |(files, bytes), path| {
        let (more, size) = if path.is_dir() { on_disk(&path) } else { (1, std::fs::metadata(&path).unwrap().len()) };
        (files + more, bytes + size)
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let key = Arc::new(SigningKey::new("bench", [1; 32]).unwrap());
    let begun = Instant::now();
    let records: Vec<Bytes> = (0..MANY).map(|n| record(n).encode().unwrap()).collect();
    println!("encode (redaction included): {}", a_second(records.len(), begun.elapsed().as_secs_f64()));
    let mean = records.iter().map(Bytes::len).sum::<usize>() / records.len();
    println!("mean size of a record: {mean} bytes");

    let memory = Arc::new(MemoryStore::default());
    let (_, took) = append(log(memory.clone(), &key).await, &records, BATCH).await;
    println!("append in memory, {BATCH} at a time: {}", a_second(records.len(), took));
    let begun = Instant::now();
    assert!(verify(&*memory, key.public(), &[]).await.unwrap().faults.is_empty());
    println!("verify in memory: {}", a_second(records.len(), begun.elapsed().as_secs_f64()));
    let held: usize = memory.objects().values().map(Bytes::len).sum();
    println!(
        "the log's size: {:.3} times its records, in {} objects",
        held as f64 / (mean * records.len()) as f64,
        memory.objects().len()
    );

    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    let records = records.get(..ON_DISK as usize).unwrap();
    let log = log(Arc::new(ObjectsAt::new(place).unwrap()), &key).await;
    let (log, took) = append(log, records, BATCH).await;
    println!("append on disk with fsync, {BATCH} at a time: {}", a_second(records.len(), took));
    let few: Vec<Bytes> = (MANY..MANY + SINGLE).map(|n| record(n).encode().unwrap()).collect();
    let (_, took) = append(log, &few, 1).await;
    println!("append on disk with fsync, one at a time: {:.1} ms a seal", took * 1000.0 / SINGLE as f64);
    let (files, bytes) = on_disk(dir.path());
    println!("on disk: {files} files, {bytes} bytes for {} records", records.len() + few.len());
    let begun = Instant::now();
    assert!(verify(&ObjectsAt::new(place).unwrap(), key.public(), &[]).await.unwrap().faults.is_empty());
    println!("verify on disk: {}", a_second(records.len() + few.len(), begun.elapsed().as_secs_f64()));
}
