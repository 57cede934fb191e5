use std::hash::{BuildHasher as _, RandomState};

/// What this process calls itself: the host's name (in Kubernetes the pod's) and a random part, so
/// that every start has another.
pub fn process_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "evenkeel",
        host => host,
    };
    // Keyed with the operating system's randomness.
    let random = RandomState::new().hash_one(std::process::id());
    format!("{host}-{random:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_starts_have_the_same_name() {
        assert_ne!(process_name(), process_name());
    }
}
