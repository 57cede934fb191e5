//! The right edge of an RFC 6962 Merkle tree in tiles of 256: all that appending needs to know.

use tlog_tiles::{EMPTY_HASH, Hash, node_hash};

/// Hashes a tile holds, as C2SP tlog-tiles has it.
pub(crate) const TILE_WIDTH: usize = 256;
const TILE_BITS: u32 = 8;

/// 256 hashes of one level, or the fewer there are yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tile {
    /// 0: leaves; each level above holds one hash a full tile of the level below.
    pub(crate) level: u8,
    /// Its place in the level.
    pub(crate) index: u64,
    pub(crate) hashes: Vec<Hash>,
}

impl Tile {
    /// As it is stored: the hashes one after the other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.0).collect()
    }
}

/// The tiles of every level that are not full yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

/// Where the last, not yet full tile of each level of a tree lies: level, index, width.
pub(crate) fn partial_tiles(size: u64) -> Vec<(u8, u64, usize)> {
    let mut places = Vec::new();
    let (mut level, mut hashes) = (0, size);
    while hashes > 0 {
        let width = (hashes % TILE_WIDTH as u64) as usize;
        if width > 0 {
            places.push((level, hashes >> TILE_BITS, width));
        }
        hashes >>= TILE_BITS;
        level += 1;
    }
    places
}

impl Edge {
    /// An edge whose tiles were read: one for each of [`partial_tiles`], in that order.
    pub(crate) fn of(size: u64, tiles: Vec<Tile>) -> Self {
        let mut levels: Vec<Vec<Hash>> = Vec::new();
        for tile in tiles {
            levels.resize_with(usize::from(tile.level), Vec::new);
            levels.push(tile.hashes);
        }
        Self { size, levels }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. Tiles that became full by it are added to `full`.
    pub(crate) fn push(&mut self, leaf: Hash, full: &mut Vec<Tile>) {
        self.size += 1;
        let mut carry = leaf;
        for level in 0u8.. {
            let place = usize::from(level);
            if self.levels.len() == place {
                self.levels.push(Vec::with_capacity(TILE_WIDTH));
            }
            let Some(hashes) = self.levels.get_mut(place) else { return };
            hashes.push(carry);
            if hashes.len() < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::take(hashes);
            carry = root_of(&hashes);
            let index = (self.size >> (TILE_BITS * (u32::from(level) + 1))) - 1;
            full.push(Tile { level, index, hashes });
        }
    }

    /// The tree's root.
    pub(crate) fn root(&self) -> Hash {
        let mut below = None;
        for hashes in &self.levels {
            let mut nodes = hashes.clone();
            nodes.extend(below);
            below = (!nodes.is_empty()).then(|| root_of(&nodes));
        }
        below.unwrap_or(EMPTY_HASH)
    }

    /// The tiles that are not full.
    pub(crate) fn partials(&self) -> Vec<Tile> {
        let levels = (0u8..).zip(&self.levels).filter(|(_, hashes)| !hashes.is_empty());
        levels
            .map(|(level, hashes)| Tile {
                level,
                index: self.size >> (TILE_BITS * (u32::from(level) + 1)),
                hashes: hashes.clone(),
            })
            .collect()
    }
}

/// RFC 6962, section 2.1, over nodes of which all but the last are roots of full subtrees of one
/// size: split at the largest power of two below their number.
pub(crate) fn root_of(nodes: &[Hash]) -> Hash {
    match nodes {
        [] => EMPTY_HASH,
        [one] => *one,
        _ => {
            let (left, right) = nodes.split_at(nodes.len().next_power_of_two() / 2);
            node_hash(root_of(left), root_of(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use tlog_tiles::{Error, HashReader, record_hash, stored_hash_index, stored_hashes, tree_hash};

    use super::*;

    struct Stored(Vec<Hash>);

    impl HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
            Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
        }
    }

    /// The values of RFC 6962's reference implementation, as its tests and certificate-transparency-go have them.
    #[test]
    fn roots_are_those_of_the_reference() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut edge = Edge::default();
        assert_eq!(hex::encode(edge.root().0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (leaf, root) in leaves.into_iter().zip(roots) {
            edge.push(record_hash(leaf), &mut Vec::new());
            assert_eq!(hex::encode(edge.root().0), root);
        }
    }

    #[test]
    fn roots_and_tiles_are_those_of_another_implementation_at_every_size() {
        let (mut edge, mut full, mut stored) = (Edge::default(), Vec::new(), Stored(Vec::new()));
        for n in 0..1400u64 {
            let data = n.to_be_bytes();
            let new = stored_hashes(n, &data, &stored).unwrap();
            stored.0.extend(new);
            edge.push(record_hash(&data), &mut full);
            assert_eq!(edge.root(), tree_hash(n + 1, &stored).unwrap(), "size {}", n + 1);
        }
        assert_eq!(full.len(), 5);
        for tile in full.iter().chain(&edge.partials()) {
            for (offset, hash) in tile.hashes.iter().enumerate() {
                let index = stored_hash_index(8 * tile.level, tile.index * 256 + offset as u64);
                assert_eq!(*hash, stored.0[index as usize]);
            }
        }
    }

    #[test]
    fn an_edge_is_rebuilt_from_its_tiles() {
        for size in [0u64, 1, 255, 256, 257, 511, 512, 65_536, 65_537, 66_000] {
            let mut edge = Edge::default();
            for n in 0..size {
                edge.push(record_hash(&n.to_be_bytes()), &mut Vec::new());
            }
            let places: Vec<_> = edge.partials().iter().map(|it| (it.level, it.index, it.hashes.len())).collect();
            assert_eq!(places, partial_tiles(size), "size {size}");
            let again = Edge::of(size, edge.partials());
            assert_eq!(again.root(), edge.root(), "size {size}");
        }
    }
}
