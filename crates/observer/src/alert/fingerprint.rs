//! An alert's identity as Prometheus and Alertmanager compute it (prometheus/common `model.LabelSet.Fingerprint`):
//! FNV-1a of 64 bits over the labels sorted by name, each name and value followed by 0xFF.

use super::Labels;

const OFFSET: u64 = 14_695_981_039_346_656_037;
const PRIME: u64 = 1_099_511_628_211;
const SEPARATOR: u8 = 0xFF;

/// The fingerprint as Alertmanager writes it: 16 hexadecimal digits.
pub(crate) fn fingerprint(labels: &Labels<'_>) -> String {
    let mut hash = OFFSET;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    for (name, value) in labels.iter() {
        name.bytes().for_each(&mut add);
        add(SEPARATOR);
        value.bytes().for_each(&mut add);
        add(SEPARATOR);
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_prometheus_own_test_values() {
        assert_eq!(fingerprint(&Labels::default()), "cbf29ce484222325");
        let labels = Labels::from_pairs([("name", "garland, briggs"), ("fear", "love is not enough")]);
        assert_eq!(fingerprint(&labels), "507a62d79ee76c9a");
    }
}
