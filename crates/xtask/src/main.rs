//! `cargo xtask`: test tools, clusters, generated files and benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel_xtask::cli::main()
}
