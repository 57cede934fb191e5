//! What the terminal is like.

use std::io::IsTerminal as _;

/// Whether stdout may be coloured: it is a terminal, and `NO_COLOR` (<https://no-color.org>) is
/// absent or empty.
pub fn is_coloured() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !refused
}
