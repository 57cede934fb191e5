//! Pages that stand by themselves: one file, no request to anywhere, light and dark, readable
//! without colours and by a screen reader.

mod from_run;
pub mod model;
mod page;
mod run;
mod timeline;

pub use page::{Cell, Page, Tone, escape};
pub use run::run_page;

#[cfg(test)]
mod tests;
