//! Free ports on loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// Below the range that the kernel hands to outgoing connections, so that a port stays free until it is bound.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// `count` ports that nobody listens on and that no other call in this process was given lately.
///
/// # Errors
/// Too few are free.
pub fn free(count: usize) -> Result<Vec<u16>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes start looking at different places.
    let offset = std::process::id().wrapping_mul(97);
    let mut ports = Vec::new();
    for _ in 0..COUNT {
        if ports.len() == count {
            return Ok(ports);
        }
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + offset.wrapping_add(step) % COUNT)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            ports.push(port);
        }
    }
    bail!("no {count} free ports from {FIRST} to {}", FIRST + COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_calls_give_the_same_port() {
        let ports = free(3).unwrap();
        assert_eq!(ports.len(), 3);
        assert!(free(3).unwrap().iter().all(|port| !ports.contains(port)));
    }
}
