//! Text poured into a connection that answers nothing: sent whole, and seen to be taken.
//!
//! What the other side has read is not told by such protocols. That it reads to the end, and
//! then ends the connection itself, is as near as one comes to it.

use std::io::{self, Read};
use std::net::Shutdown;
use std::time::Duration;

use crate::clock;
use crate::error::plain;
use crate::net::dial::dial;
use crate::net::resolve::Resolver;
use crate::net::stream::{TimedStream, write_by};
use crate::units::{Family, HostPort, Reach, duration_text};

/// Connects, sends all of `bytes`, says that this was all, and waits for the other side to
/// end the connection, all of it within `timeout`.
///
/// # Errors
/// What went wrong, for people.
pub fn pour(
    resolver: &Resolver,
    address: &HostPort,
    bytes: &[u8],
    timeout: Duration,
) -> Result<(), String> {
    let deadline = clock::mono().after(timeout);
    let to = (address, Family::Any);
    let dialled = dial(resolver, &Reach::default(), to, deadline, 0);
    let mut stream = dialled.outcome.map_err(|failure| failure.text)?;
    let told = |doing: &str, error: &io::Error| match error.kind() {
        io::ErrorKind::TimedOut => {
            format!(
                "{doing} {address}: timed out after {}",
                duration_text(timeout)
            )
        }
        _ => format!("{doing} {address}: {}", plain(&error.to_string())),
    };
    write_by(&mut stream, bytes, deadline).map_err(|error| told("send to", &error))?;
    let ended = stream.shutdown(Shutdown::Write).and_then(|()| {
        let mut rest = TimedStream::new(stream, deadline)?;
        let mut sink = [0; 1024];
        while rest.read(&mut sink)? > 0 {}
        Ok(())
    });
    ended.map_err(|error| told("wait for the end of", &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn what_is_poured_is_read_to_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: HostPort = listener.local_addr().unwrap().to_string().parse().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = String::new();
            stream.read_to_string(&mut got).unwrap();
            drop(stream);
            // Who takes it and says nothing more does not count as having read it.
            let (held, _) = listener.accept().unwrap();
            (got, held)
        });
        let resolver = Resolver::default();
        let long = Duration::from_secs(20);
        pour(&resolver, &address, b"a 1 2\n", long).unwrap();
        let error = pour(&resolver, &address, b"b", Duration::from_millis(100)).unwrap_err();
        assert!(error.ends_with(": timed out after 100ms"), "{error}");
        assert_eq!(server.join().unwrap().0, "a 1 2\n");
        let error = pour(&resolver, &address, b"c", long).unwrap_err();
        assert!(error.contains("refused"), "{error}");
    }
}
