//! The `tcpmon-agent` program: arguments in, exit code out.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tcpmon::agent::main(std::env::args_os().skip(1).collect())
}
