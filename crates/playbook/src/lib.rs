//! Loading, checking, matching and rendering playbooks; the fact table. Pure: no clock, no
//! randomness, no I/O.
//!
//! [`load`] reads what it can and says what is wrong with the rest; [`Playbooks`] holds what may be
//! used; [`facts`] turns evidence into named, typed values; [`queries`] turns a playbook's diagnose
//! part into questions for the observer.

mod check;
pub mod facts;
mod load;
mod matching;
mod problem;
pub mod queries;
mod schema;
mod suggest;
mod template;
pub mod yaml;

pub use check::check;
pub use load::{Loaded, from_resource, load, parse};
pub use matching::{Candidate, Playbooks};
pub use problem::Problem;
pub use schema::schema;
pub use suggest::{nearest, or_meant};
pub use template::{Escape, RenderError, Vars, render};
