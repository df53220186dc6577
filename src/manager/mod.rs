//! The `tcpmon-manager` program.

pub mod board;
pub mod state;
pub mod view;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with its arguments (without its own name).
pub fn main(_args: Vec<OsString>) -> ExitCode {
    ExitCode::from(2)
}
