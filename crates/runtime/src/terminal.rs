//! What the terminal is like.

use std::io::IsTerminal as _;

/// Whether stdout is coloured: it is a terminal, or `CLICOLOR_FORCE` (<https://bixense.com/clicolors>) asks for it; not
/// where `NO_COLOR` (<https://no-color.org>) refuses.
pub fn is_coloured() -> bool {
    let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let is_forced = is_set("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    is_set("NO_COLOR").is_none() && (is_forced || std::io::stdout().is_terminal())
}
