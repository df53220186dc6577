//! tcpmon: a distributed TCP monitor in three programs.
//!
//! A layer may use only those above it in this list; only the edges touch the
//! clock, sockets, files and threads. The middle is pure: time is an argument.
//!
//! ```text
//! ground    error  text  json  units  crc32  crypto
//! model     script  model  key  record  quiet  alert  export  config
//! logic     schedule  health  standing  quorum  stats  metrics  talk
//! protocol  proto
//! edges     clock  bell  threads  files  log  cli  net  channel  journal  probe  term  http
//! programs  server  agent  manager
//! ```
#![forbid(unsafe_code)]

pub mod crc32;
pub mod crypto;
pub mod error;
pub mod json;
pub mod text;
pub mod units;

pub mod alert;
pub mod config;
pub mod export;
pub mod key;
pub mod model;
pub mod quiet;
pub mod record;
pub mod script;

pub mod health;
pub mod metrics;
pub mod quorum;
pub mod schedule;
pub mod standing;
pub mod stats;
pub mod talk;

pub mod proto;

pub mod bell;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod files;
pub mod http;
pub mod journal;
pub mod log;
pub mod net;
pub mod probe;
pub mod term;
pub mod threads;

pub mod agent;
pub mod manager;
pub mod server;

#[cfg(test)]
mod sim;
