//! What a person at the terminal reads: short lines, and a spinner while something long runs.
#![allow(clippy::print_stderr, reason = "the one module that talks to the person at the terminal")]

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Prints one line of progress.
pub fn say(line: impl Display) {
    eprintln!("{line}");
}

/// Prints the one line on standard output that a script reads.
#[allow(clippy::print_stdout, reason = "results for scripts go to standard output")]
pub fn result(line: impl Display) {
    println!("{line}");
}

/// A spinner on a terminal; plain lines elsewhere.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts showing `what`, such as `building etcd`.
    #[must_use]
    pub fn start(what: impl Display) -> Self {
        if !std::io::stderr().is_terminal() {
            say(format_args!("{what} …"));
            return Self { bar: None };
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar: Some(bar) }
    }

    /// Says what is happening now.
    pub fn now(&self, what: impl Display) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_string()),
            None => say(format_args!("{what} …")),
        }
    }

    /// Replaces the spinner with a last line.
    pub fn done(self, line: impl Display) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        say(line);
    }
}
