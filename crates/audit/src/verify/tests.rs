use std::sync::Arc;

use futures::TryStreamExt as _;
use tlog_tiles::{Error, HashReader, check_record, prove_record, stored_hashes};

use super::*;
use crate::testing::{key, log_of, made_up};
use crate::{Log, MemoryStore, SigningKey};

async fn found(store: &MemoryStore, kept: &[String]) -> Vec<Fault> {
    verify(store, key().public(), kept).await.unwrap().faults
}

/// A copy with one object changed.
fn with(store: &MemoryStore, path: &str, change: impl FnOnce(Bytes) -> Option<Bytes>) -> MemoryStore {
    let copy = MemoryStore::default();
    *copy.objects() = store.objects().clone();
    let object = copy.objects().remove(path).unwrap_or_else(|| panic!("no {path}"));
    if let Some(changed) = change(object) {
        copy.objects().insert(path.to_owned(), changed);
    }
    copy
}

fn with_records(store: &MemoryStore, path: &str, change: impl FnOnce(&mut Vec<Bytes>)) -> MemoryStore {
    with(store, path, |bundle| {
        let mut records = layout::decode_bundle(bundle).unwrap();
        change(&mut records);
        Some(layout::encode_bundle(&records))
    })
}

fn edited(record: &Bytes) -> Bytes {
    let text = std::str::from_utf8(record).unwrap().replace("done: ", "done! ");
    assert_ne!(text.as_bytes(), &record[..]);
    text.into()
}

#[tokio::test]
async fn an_untouched_log_has_no_fault_at_any_size() {
    for size in [1, 255, 256, 257, 700] {
        let (store, log) = log_of(size).await;
        let note = log.checkpoint().unwrap().note.clone();
        assert_eq!(found(&store, &[note]).await, [], "{size}");
    }
}

/// All hashes of a tree, as another implementation stores them.
struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

/// Each of 10,000 records changed, removed and repeated, one at a time. Every one is seen by the
/// comparison that `verify` makes and by the signed root, along the record's path; through `verify` as
/// a whole goes one in each bundle.
#[tokio::test]
async fn every_change_of_any_of_10_000_records_is_found() {
    const SIZE: u64 = 10_000;
    let (store, log) = log_of(SIZE).await;
    let root = log.checkpoint().unwrap().root;
    let all = made_up(0, SIZE);
    let mut stored = Stored(Vec::new());
    for (n, record) in (0..).zip(&all) {
        let new = stored_hashes(n, record, &stored).unwrap();
        stored.0.extend(new);
    }
    let (mut seen, mut whole) = (0, 0);
    for index in 0..read::bundles(SIZE) {
        let (first, width) = (index * TILE_WIDTH as u64, read::bundle_width(SIZE, index));
        let tile = read::tile(&*store, 0, index, width).await.unwrap().unwrap();
        let records = read::bundle(&*store, index, width).await.unwrap().unwrap();
        let hashes: Vec<Hash> = records.iter().map(|record| record_hash(record)).collect();
        assert_eq!(differences(first, &hashes, &tile.hashes), []);
        for (place, record) in records.iter().enumerate() {
            let n = first + place as u64;
            let changed = record_hash(&edited(record));
            let mut with_change = hashes.clone();
            with_change[place] = changed;
            let found = differences(first, &with_change, &tile.hashes);
            assert_eq!(told(&found), [Fault::Changed { index: n }]);
            // The root speaks of it too, so changing the tile along with it does not help.
            let path = prove_record(SIZE, n, &stored).unwrap();
            check_record(&path, SIZE, root, n, hashes[place]).unwrap();
            check_record(&path, SIZE, root, n, changed).unwrap_err();
            // Removed or repeated: everything after it stands in another's place.
            let mut removed = hashes.clone();
            removed.remove(place);
            assert_eq!(differences(first, &removed, &tile.hashes).len(), width - 1 - place);
            let mut repeated = hashes.clone();
            repeated.insert(place, hashes[place]);
            assert_eq!(differences(first, &repeated, &tile.hashes).len(), width - 1 - place);
            seen += 1;
        }
        let place = (index as usize * 37) % width;
        let copy =
            with_records(&store, &layout::bundle(index, width), |records| records[place] = edited(&records[place]));
        assert_eq!(super::tests::found(&copy, &[]).await, [Fault::Changed { index: first + place as u64 }]);
        whole += 1;
    }
    assert_eq!((seen, whole), (SIZE, 40));
}

#[tokio::test]
async fn removed_added_and_moved_records_are_found() {
    let (store, _) = log_of(700).await;
    let (full, last) = (layout::bundle(1, 256), layout::bundle(2, 188));
    let removed = with_records(&store, &full, |records| drop(records.remove(7)));
    let faults = found(&removed, &[]).await;
    assert_eq!(faults[0], Fault::Missing { from: 511, to: 511, path: full.clone() });
    assert_eq!(faults[1], Fault::Moved { index: 263, belongs: 264 });
    assert_eq!(faults.len(), 1 + 248);

    let added = with_records(&store, &full, |records| records.insert(7, "{}".into()));
    let faults = found(&added, &[]).await;
    assert_eq!(faults[..2], [Fault::Extra { path: full.clone() }, Fault::Changed { index: 263 }]);
    assert_eq!(faults[2], Fault::Moved { index: 264, belongs: 263 });
    let at_the_end = with_records(&store, &last, |records| records.push("{}".into()));
    assert_eq!(found(&at_the_end, &[]).await, [Fault::Extra { path: last.clone() }]);

    let swapped = with_records(&store, &full, |records| records.swap(0, 255));
    let moved = |index, belongs| Fault::Moved { index, belongs };
    assert_eq!(found(&swapped, &[]).await, [moved(256, 511), moved(511, 256)]);
    assert_eq!(
        found(&swapped, &[]).await[0].to_string(),
        "tile/entries/001: in the place of record 256 stands record 511"
    );

    let bundles = with(&store, &full, |_| None);
    assert_eq!(found(&bundles, &[]).await, [Fault::Missing { from: 256, to: 511, path: full }]);
    let cut = with(&store, &last, |bundle| Some(bundle.slice(..bundle.len() - 1)));
    assert_eq!(found(&cut, &[]).await, [Fault::Missing { from: 512, to: 699, path: last }]);
}

#[tokio::test]
async fn changing_records_and_hashes_together_is_found() {
    let (store, _) = log_of(700).await;
    let copy = with_records(&store, &layout::bundle(1, 256), |records| records[3] = edited(&records[3]));
    let bundle = copy.get(&layout::bundle(1, 256)).await.unwrap().unwrap();
    let hashes: Vec<u8> =
        layout::decode_bundle(bundle).unwrap().iter().flat_map(|record| record_hash(record).0).collect();
    let copy = with(&copy, &layout::tile(0, 1, 256), |_| Some(hashes.into()));
    assert_eq!(found(&copy, &[]).await, [Fault::Root { size: 700 }]);
    // Tiles alone.
    let path = layout::tile(1, 0, 2);
    let copy = with(&store, &path, |tile| Some([&[tile[0] ^ 1], &tile[1..]].concat().into()));
    assert_eq!(found(&copy, &[]).await, [Fault::Tile { path }]);
    let path = layout::tile(0, 0, 256);
    assert_eq!(found(&with(&store, &path, |_| None), &[]).await, [Fault::Tile { path }]);
}

#[tokio::test]
async fn a_checkpoint_that_is_changed_foreign_or_missing_is_found() {
    let (store, log) = log_of(300).await;
    let note = log.checkpoint().unwrap().note.clone();
    for place in 0..note.len() {
        let copy = with(&store, CHECKPOINT, |note| {
            let mut note = note.to_vec();
            note[place] ^= 1;
            Some(note.into())
        });
        assert!(matches!(found(&copy, &[]).await[..], [Fault::Checkpoint(_)]), "byte {place}");
    }
    assert_eq!(found(&with(&store, CHECKPOINT, |_| None), &[]).await, [Fault::NoCheckpoint]);
    let stranger = SigningKey::new("test", [8; 32]).unwrap();
    let findings = verify(&*store, stranger.public(), &[]).await.unwrap();
    assert!(matches!(findings.faults[..], [Fault::Checkpoint(NoteError::Unsigned(_))]));
}

/// An older state, whole and signed, in the place of the newer; and a log that was rewritten and
/// signed with the true key. Both are seen by a checkpoint that was kept elsewhere.
#[tokio::test]
async fn a_cut_off_end_and_a_rewritten_past_are_found_by_a_checkpoint_kept_elsewhere() {
    let (older, log) = log_of(300).await;
    let early = log.checkpoint().unwrap().note.clone();
    let late = Checkpoint::sign(&key(), 400, Hash([1; 32])).note;
    assert_eq!(found(&older, std::slice::from_ref(&late)).await, [Fault::Truncated { kept: 400, found: 300 }]);

    // A size that is known will do, too.
    let expecting = async |size| verify(&*older, key().public(), &[]).await.unwrap().expecting(size).faults;
    assert_eq!(expecting(300).await, []);
    assert_eq!(expecting(301).await, [Fault::Truncated { kept: 301, found: 300 }]);

    let rewritten = Arc::new(MemoryStore::default());
    let parts = crate::LogParts { store: rewritten.clone(), bucket: crate::testing::bucket().await, key: key() };
    let mut records = made_up(0, 500);
    records[42] = edited(&records[42]);
    Log::open(parts).await.unwrap().append(&records).await.unwrap();
    assert_eq!(found(&rewritten, &[]).await, [], "by itself it is whole");
    assert_eq!(found(&rewritten, std::slice::from_ref(&early)).await, [Fault::Forked { size: 300 }]);
    let foreign = Checkpoint::sign(&SigningKey::new("test", [8; 32]).unwrap(), 300, Hash([1; 32])).note;
    assert!(matches!(found(&older, &[foreign]).await[..], [Fault::Kept(_)]));
    // A log that grew is no fork.
    let (grown, _) = log_of(700).await;
    assert_eq!(found(&grown, &[early]).await, []);
}

#[tokio::test]
async fn a_copy_is_whole_and_reads_the_same() {
    let (store, log) = log_of(700).await;
    let copy = MemoryStore::default();
    export(&*store, &copy, log.checkpoint().unwrap()).await.unwrap();
    assert_eq!(found(&copy, &[]).await, []);
    let read: Vec<_> = records(&copy, 700).try_collect().await.unwrap();
    let expected: Vec<_> = (0..).zip(made_up(0, 700)).collect();
    assert_eq!(read, expected);
    // Also of an earlier state of the log.
    let early = MemoryStore::default();
    let (_, then) = log_of(600).await;
    export(&*store, &early, then.checkpoint().unwrap()).await.unwrap();
    assert_eq!(found(&early, &[]).await, []);
}
