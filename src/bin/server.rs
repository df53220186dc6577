//! The `tcpmon-server` program: arguments in, exit code out.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tcpmon::server::main(std::env::args_os().skip(1).collect())
}
