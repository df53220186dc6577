//! `tcpmon-agent check`: one probe now, for monitoring systems that run plugins: the
//! options, output and exit codes of monitoring-plugins' `check_tcp` 2.x. Where it
//! differs on purpose is told in docs/check.md.
//!
//! It needs no agent, no configuration and no data directory, and leaves nothing behind.
//! Reading the command line, judging the answer and wording the verdict are pure; the
//! connection is in [`talk`].

mod answer;
mod options;
mod talk;
mod verdict;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli;
use crate::config::INTERVAL_DEFAULT;
use crate::probe;
use crate::text;

pub use options::PROGRAM;
use options::{Asked, State};

/// Runs `check` with the arguments that follow it.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let args = args.into_iter().map(OsString::into_encoded_bytes).collect();
    let state = match options::read(args) {
        Ok(Asked::Check(options)) => {
            let (outcome, stream) = talk::talk(&options);
            let (line, state) = verdict::report(&options, &outcome);
            cli::print(&format!("{line}\n"));
            if let Some(stream) = stream {
                probe::goodbye(stream, INTERVAL_DEFAULT);
            }
            state
        }
        Ok(Asked::Help) => {
            cli::print(&cli::help(&PROGRAM));
            State::Unknown
        }
        Ok(Asked::Version) => {
            cli::print(concat!("tcpmon-agent ", env!("CARGO_PKG_VERSION"), "\n"));
            State::Unknown
        }
        Err(mistake) => {
            // Monitoring systems show what is on stdout.
            let name = PROGRAM.name;
            let mistake = text::escape(&mistake);
            cli::print(&format!("{name}: {mistake}\nsee {name} --help\n"));
            State::Unknown
        }
    };
    ExitCode::from(state.code())
}

/// Reads a command line, for tests of others.
#[cfg(test)]
pub fn is_taken(args: Vec<Vec<u8>>) -> bool {
    options::read(args).is_ok()
}
