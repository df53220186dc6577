//! The integration suite: real programs on loopback, started on port 0 and
//! waited for by what they print. `support` starts and watches them; every other
//! module is one subject.

mod agent;
mod alerts;
mod check;
mod help;
mod manuals;
mod protocol;
mod scenario;
mod script;
mod server;
mod silence;
mod support;
mod tidy;
mod torture;
mod trust;
mod web;
