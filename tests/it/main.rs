//! The engine against real parts: a real API server with its controllers, real pods on a real
//! node, NATS, Prometheus, Alertmanager. The oracle is the API server's audit log and the objects.

#![allow(clippy::print_stdout, reason = "what a failed test needs to show")]
#![allow(clippy::indexing_slicing, reason = "JSON documents are built by index, which does not panic on objects")]

mod alert_rules;
mod approvals;
mod audit_log;
mod audit_mode;
mod behaviours;
mod breakers;
mod burst;
mod crash;
mod foreign;
mod freeze;
mod identities;
mod input;
mod ladder;
mod many;
mod policies;
mod policy_engines;
mod records;
mod repair;
mod requests;
mod slack;
mod stolen;
