use evenkeel_bus::Bucket;

use super::*;
use crate::testing::{Cut, Fuse, Fused, bucket, key, log_of, made_up};
use crate::{MemoryStore, verify};

/// A cluster's worth of what outlives a process.
struct World {
    store: Arc<MemoryStore>,
    bucket: Arc<dyn Bucket>,
}

impl World {
    async fn new() -> Self {
        Self { store: Arc::default(), bucket: bucket().await }
    }

    fn parts(&self) -> Parts {
        Parts { store: self.store.clone(), bucket: self.bucket.clone(), key: key() }
    }

    /// What a process that is killed after so many writes sees.
    fn parts_until(&self, fuse: &Arc<Fuse>) -> Parts {
        Parts {
            store: Arc::new(Fused { inner: self.store.clone(), fuse: fuse.clone() }),
            bucket: Arc::new(Fused { inner: self.bucket.clone(), fuse: fuse.clone() }),
            key: key(),
        }
    }

    async fn open(&self) -> Log {
        Log::open(self.parts()).await.unwrap()
    }

    /// Every record once, in order, signed, and nothing left lying about.
    async fn holds(&self, expected: &[Bytes], context: &str) {
        let findings = verify(&*self.store, key().public(), &[]).await.unwrap();
        assert_eq!(findings.faults, [], "{context}");
        let size = findings.checkpoint.unwrap().size;
        use futures::TryStreamExt as _;
        let stored: Vec<_> =
            crate::records(&*self.store, size).map_ok(|(_, record)| record).try_collect().await.unwrap();
        assert_eq!(stored, expected, "{context}");
        assert!(!self.store.objects().keys().any(|path| path.starts_with(STAGING)), "{context}");
    }
}

/// Sealing as a sealer does it: what is known is left out.
async fn seal(log: Log, records: &[Bytes]) -> Result<Log, LogError> {
    let id = |record: &Bytes| crate::Record::decode(record).unwrap().id;
    let new: Vec<Bytes> = records.iter().filter(|record| !log.has_lately(&id(record))).cloned().collect();
    log.append(&new).await
}

#[tokio::test]
async fn a_log_grows_and_is_opened_again() {
    let world = World::new().await;
    let mut log = world.open().await;
    assert_eq!((log.size(), log.checkpoint()), (0, None));
    let all = made_up(0, 1300);
    let mut done = 0;
    for step in [1, 1, 253, 1, 256, 300, 212, 1, 275] {
        log = log.append(&all[done..done + step]).await.unwrap();
        done += step;
        world.holds(&all[..done], &format!("{done} records")).await;
        let again = world.open().await;
        assert_eq!((again.size(), &again.edge, &again.tail), (done as u64, &log.edge, &log.tail));
        assert_eq!(again.checkpoint(), log.checkpoint());
    }
    assert_eq!(done, all.len());
    // Partial tiles and bundles that became full are gone.
    assert!(!world.store.objects().keys().any(|path| path.contains("/000.p/") && !path.starts_with("tile/1/")));
}

/// Killed at each write of an append, before it or after it; and once more while it is mended.
#[tokio::test]
async fn a_crash_at_any_write_loses_nothing_and_repeats_nothing() {
    let all = made_up(0, 700);
    let mut crashes = 0;
    // Beginnings and batches that fill no tile, fill one, and fill two at once.
    for (before, batch) in [(0, 10), (250, 6), (250, 3), (200, 400), (256, 256)] {
        for cut in [Cut::Before, Cut::After] {
            for writes in 1.. {
                let context = format!("{before} records, {batch} more, {writes} writes, {cut:?}");
                let world = World::new().await;
                let mut log = world.open().await;
                log = log.append(&all[..before]).await.unwrap();
                drop(log);
                let fuse = Fuse::of(writes, cut);
                let log = Log::open(world.parts_until(&fuse)).await.unwrap();
                let appended = log.append(&all[before..before + batch]).await;
                if !fuse.is_burnt() {
                    break;
                }
                crashes += 1;
                drop(appended);
                // The next process is killed too, early on.
                let fuse = Fuse::of(1 + writes % 3, cut);
                if let Ok(log) = Log::open(world.parts_until(&fuse)).await {
                    drop(seal(log, &all[before..before + batch]).await);
                }
                let log = world.open().await;
                assert!([before, before + batch].contains(&(log.size() as usize)), "{context}");
                let log = seal(log, &all[before..before + batch]).await.unwrap();
                let log = seal(log, &all[before..before + batch + 1]).await.unwrap();
                assert_eq!(log.size() as usize, before + batch + 1, "{context}");
                world.open().await;
                world.holds(&all[..before + batch + 1], &context).await;
            }
        }
    }
    assert!(crashes > 60, "{crashes}");
}

#[tokio::test]
async fn of_two_that_append_at_once_one_wins_and_the_other_knows() {
    let world = World::new().await;
    let all = made_up(0, 20);
    let (a, b) = (world.open().await, world.open().await);
    a.append(&all[..5]).await.unwrap();
    assert!(matches!(b.append(&all[10..]).await, Err(LogError::Overtaken)));
    // It opens it again and goes on.
    let b = world.open().await;
    b.append(&all[5..]).await.unwrap();
    // What the loser had staged is cleared away by whoever opens it next.
    world.open().await;
    world.holds(&all, "both").await;
}

#[tokio::test]
async fn a_late_checkpoint_of_a_sealer_that_slept_does_no_harm() {
    let world = World::new().await;
    let all = made_up(0, 300);
    let log = world.open().await.append(&all[..10]).await.unwrap();
    let late = log.checkpoint().unwrap().note.clone();
    log.append(&all[10..290]).await.unwrap();
    world.store.put(CHECKPOINT, late.into()).await.unwrap();
    let log = world.open().await;
    assert_eq!(log.size(), 290);
    log.append(&all[290..]).await.unwrap();
    world.holds(&all, "after it").await;
}

#[tokio::test]
async fn a_lost_or_older_bucket_is_made_good_by_the_store() {
    let world = World::new().await;
    let all = made_up(0, 600);
    let log = world.open().await.append(&all[..300]).await.unwrap();
    let then = world.bucket.get(&bucket_key(key().public()).unwrap()).await.unwrap().unwrap().value;
    log.append(&all[300..500]).await.unwrap();
    for restored in [None, Some(then)] {
        let lost = World { store: world.store.clone(), bucket: bucket().await };
        if let Some(value) = restored {
            lost.bucket.create(&bucket_key(key().public()).unwrap(), value).await.unwrap();
        }
        assert_eq!(lost.open().await.size(), 500);
    }
    let lost = World { store: world.store.clone(), bucket: bucket().await };
    lost.open().await.append(&all[500..]).await.unwrap();
    lost.holds(&all, "a new bucket").await;
}

#[tokio::test]
async fn a_store_that_was_put_back_or_emptied_stops_the_log() {
    let world = World::new().await;
    let all = made_up(0, 600);
    let log = world.open().await.append(&all[..300]).await.unwrap();
    let then = world.store.objects().clone();
    log.append(&all[300..]).await.unwrap();
    *world.store.objects() = then;
    assert!(matches!(Log::open(world.parts()).await, Err(LogError::Lost { size: 600, .. })));
    world.store.objects().clear();
    assert!(matches!(Log::open(world.parts()).await, Err(LogError::Lost { size: 600, .. })));
}

#[tokio::test]
async fn two_pasts_stop_the_log() {
    let (ours, other) = (World::new().await, World::new().await);
    let all = made_up(0, 40);
    ours.open().await.append(&all[..10]).await.unwrap();
    other.open().await.append(&all[20..]).await.unwrap();
    for (store, bucket, sizes) in [(&ours, &other, (20, 10)), (&other, &ours, (10, 20))] {
        let mixed = Parts { store: store.store.clone(), bucket: bucket.bucket.clone(), key: key() };
        let error = Log::open(mixed).await.unwrap_err();
        let stopped = matches!(&error, LogError::Forked { bucket, store } if (*bucket, *store) == sizes)
            || matches!(error, LogError::Lost { .. });
        assert!(stopped, "{error}");
    }
    let stranger = Arc::new(SigningKey::new("test", [8; 32]).unwrap());
    let error = Log::open(Parts { key: stranger, ..ours.parts() }).await.unwrap_err();
    assert!(matches!(error, LogError::NotOurs { place: "store", .. }), "{error}");
}

#[tokio::test]
async fn repeats_are_known_by_their_ids_a_good_while() {
    let (_, log) = log_of(2600).await;
    assert!(log.has_lately("r-2599/Verifying") && log.has_lately("r-600/Verifying"));
    assert!(!log.has_lately("r-2600/Verifying"));
    let again = Log::open(log.parts.clone()).await.unwrap();
    assert!(again.has_lately("r-600/Verifying") && !again.has_lately("r-100/Verifying"));
}

/// The key is changed: a new log begins in a store of its own, whatever the bucket has of the old one.
#[tokio::test]
async fn another_key_begins_another_log_and_leaves_the_old_one() {
    let world = World::new().await;
    let all = made_up(0, 40);
    world.open().await.append(&all[..10]).await.unwrap();
    let next = Parts {
        store: Arc::new(MemoryStore::default()),
        bucket: world.bucket.clone(),
        key: Arc::new(SigningKey::new("test-2", [8; 32]).unwrap()),
    };
    let log = Log::open(next.clone()).await.unwrap().append(&all[10..]).await.unwrap();
    assert_eq!(log.size(), 30);
    assert_eq!(verify(&*next.store, next.key.public(), &[]).await.unwrap().faults, []);
    assert_eq!(world.open().await.size(), 10);
    world.holds(&all[..10], "the old log").await;
}
