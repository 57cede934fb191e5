//! `cargo xtask bench`: figures as ratios within one run, on real parts.

#![allow(clippy::print_stdout, reason = "the figures are the output")]
#![allow(clippy::indexing_slicing, reason = "JSON documents are built by index, which does not panic on objects")]

mod http;
mod ingest;
mod react;
mod stats;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let figures = match arguments.first().map(String::as_str) {
        Some("ingest") => ingest::run()?,
        Some("react") => react::run()?,
        _ => bail!("expected ingest or react"),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        stats::print(&figures);
    }
    Ok(())
}
