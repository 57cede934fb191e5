//! The playbooks and policies that are shipped: they pass `check`, and do to the faults of public
//! fault suites what should be done.

// Clippy takes helpers for tests only below this attribute.
#[cfg(test)]
mod faults;
#[cfg(test)]
mod shipped;
