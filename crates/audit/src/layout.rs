//! Where things lie and how: the paths and bundles of C2SP tlog-tiles.

use bytes::Bytes;
use tlog_tiles::{HASH_SIZE, Hash, Tile};

use crate::tree::TILE_WIDTH;

/// The newest signed checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// What is about to be appended lies below this until it is in place.
pub(crate) const STAGING: &str = "staging";
/// The largest record, bytes: bundles have 16 bits for a length.
pub const MAX_RECORD_BYTES: usize = u16::MAX as usize;

/// A tile of hashes: `tile/<level>/<index>[.p/<width>]`.
pub(crate) fn tile(level: u8, index: u64, width: usize) -> String {
    path(level, index, width, false)
}

/// A bundle of records: `tile/entries/<index>[.p/<width>]`.
pub(crate) fn bundle(index: u64, width: usize) -> String {
    path(0, index, width, true)
}

fn path(level: u8, index: u64, width: usize, is_data: bool) -> String {
    let width = u32::try_from(width.clamp(1, TILE_WIDTH)).unwrap_or(1);
    let path = Tile::new(8, level.min(63), index, width, is_data).path();
    // Go's sumdb writes the height and `data` where C2SP has nothing and `entries`.
    path.replacen("tile/8/data/", "tile/entries/", 1).replacen("tile/8/", "tile/", 1)
}

/// Where the partial tiles of a place lie that became full.
pub(crate) fn partials_of(full: &str) -> String {
    format!("{full}.p")
}

/// Records, each after its length in two bytes, big-endian.
pub(crate) fn encode_bundle(records: &[Bytes]) -> Bytes {
    let mut out = Vec::with_capacity(records.iter().map(|record| record.len() + 2).sum());
    for record in records {
        // INVARIANT: records longer than `MAX_RECORD_BYTES` are refused before they get here.
        out.extend(u16::try_from(record.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(record);
    }
    out.into()
}

/// The records of a bundle; `None` when it ends in the midst of one.
pub(crate) fn decode_bundle(mut bundle: Bytes) -> Option<Vec<Bytes>> {
    let mut records = Vec::new();
    while !bundle.is_empty() {
        let length = usize::from(u16::from_be_bytes(*bundle.first_chunk()?));
        if bundle.len() < length + 2 {
            return None;
        }
        let mut record = bundle.split_to(length + 2);
        records.push(record.split_off(2));
    }
    Some(records)
}

/// The hashes of a tile as it is stored; `None` when its length is no multiple of a hash's.
pub(crate) fn decode_tile(tile: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = tile.as_chunks::<HASH_SIZE>();
    rest.is_empty().then(|| hashes.iter().map(|hash| Hash(*hash)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(tile(0, 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(tile(1, 0, 3), "tile/1/000.p/3");
        assert_eq!(bundle(1000, 256), "tile/entries/x001/000");
        assert_eq!(bundle(4, 255), "tile/entries/004.p/255");
        assert_eq!(partials_of(&bundle(4, 256)), "tile/entries/004.p");
    }

    #[test]
    fn bundles_come_back_as_they_went_and_cut_ones_do_not() {
        let records = vec![Bytes::from_static(b"a"), Bytes::new(), Bytes::from(vec![7; MAX_RECORD_BYTES])];
        let bundle = encode_bundle(&records);
        assert_eq!(decode_bundle(bundle.clone()).unwrap(), records);
        assert!(decode_bundle(bundle.slice(..bundle.len() - 1)).is_none());
        assert!(decode_bundle(Bytes::from_static(b"\x00")).is_none());
        assert!(decode_tile(&[0; 63]).is_none());
    }
}
