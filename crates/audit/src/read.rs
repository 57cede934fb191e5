//! Reading tiles and bundles of a log of a given size, as C2SP tlog-tiles has it: a partial one may
//! have been replaced by the full one.

use bytes::Bytes;

use crate::layout;
use crate::store::{Store, StoreError};
use crate::tree::{Edge, TILE_WIDTH, Tile, partial_tiles};

/// How many records of bundle `index` a log of `size` records has.
pub(crate) fn bundle_width(size: u64, index: u64) -> usize {
    let left = size.saturating_sub(index * TILE_WIDTH as u64);
    usize::try_from(left).unwrap_or(TILE_WIDTH).min(TILE_WIDTH)
}

/// How many bundles a log of `size` records has.
pub(crate) fn bundles(size: u64) -> u64 {
    size.div_ceil(TILE_WIDTH as u64)
}

/// The records of a bundle, `width` of them if it is as it should be; `None` when there is no such
/// object, or it ends in the midst of a record.
pub(crate) async fn bundle(store: &dyn Store, index: u64, width: usize) -> Result<Option<Vec<Bytes>>, StoreError> {
    let (part, full) = (layout::bundle(index, width), layout::bundle(index, TILE_WIDTH));
    if let Some(bundle) = store.get(&part).await? {
        return Ok(layout::decode_bundle(bundle));
    }
    let mut records = store.get(&full).await?.and_then(layout::decode_bundle);
    if let Some(records) = records.as_mut().filter(|records| records.len() <= TILE_WIDTH) {
        records.truncate(width);
    }
    Ok(records)
}

/// The first `width` hashes of a tile; `None` when there is no such object, or it is too short.
pub(crate) async fn tile(store: &dyn Store, level: u8, index: u64, width: usize) -> Result<Option<Tile>, StoreError> {
    let (part, full) = (layout::tile(level, index, width), layout::tile(level, index, TILE_WIDTH));
    let stored = match store.get(&part).await? {
        None => store.get(&full).await?,
        found => found,
    };
    let hashes = stored.and_then(|bytes| layout::decode_tile(&bytes));
    Ok(hashes.filter(|hashes| hashes.len() >= width).map(|mut hashes| {
        hashes.truncate(width);
        Tile { level, index, hashes }
    }))
}

/// The right edge of the log when it had `size` records; `None` when a tile of it is missing.
pub(crate) async fn edge(store: &dyn Store, size: u64) -> Result<Option<Edge>, StoreError> {
    let mut tiles = Vec::new();
    for (level, index, width) in partial_tiles(size) {
        match tile(store, level, index, width).await? {
            Some(tile) => tiles.push(tile),
            None => return Ok(None),
        }
    }
    Ok(Some(Edge::of(size, tiles)))
}
