//! One conformance suite, run against the memory bus and against a real nats-server, and what only
//! one of them has.

// Clippy takes helpers for tests only below this attribute.
#[cfg(test)]
mod administration;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod interruption;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod tls;
