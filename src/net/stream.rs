//! A TCP stream whose every read and write ends in time.
//!
//! A read waits until the deadline set before it; a write may stall for
//! [`WRITE_STALL_MAX`] without progress. The moment of the last byte heard is
//! kept: any byte counts as life.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::clock;
use crate::model::Mono;

/// A write that makes no progress for this long ends the connection.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// The reading half: reads end at `deadline`.
#[derive(Debug)]
pub struct TimedStream {
    stream: TcpStream,
    /// When reads give up.
    pub deadline: Mono,
    /// When the last byte came.
    pub heard: Mono,
}

impl TimedStream {
    /// Reads `stream` until `deadline`; bounds its writes too.
    pub fn new(stream: TcpStream, deadline: Mono) -> io::Result<TimedStream> {
        stream.set_write_timeout(Some(WRITE_STALL_MAX))?;
        stream.set_nodelay(true)?;
        Ok(TimedStream {
            stream,
            deadline,
            heard: clock::mono(),
        })
    }

    /// The writing half: the same connection.
    pub fn writer(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.since(clock::mono());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let count = self.stream.read(buffer).map_err(timed_out)?;
        if count > 0 {
            self.heard = clock::mono();
        }
        Ok(count)
    }
}

/// Writes all of `bytes`; each piece of progress renews the patience.
pub fn write_all(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).map_err(timed_out)
}

/// Writes all of `bytes` before `deadline`.
pub fn write_by(stream: &mut TcpStream, mut bytes: &[u8], deadline: Mono) -> io::Result<()> {
    while !bytes.is_empty() {
        let left = deadline.since(clock::mono());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(timed_out(error)),
        }
    }
    Ok(())
}

/// A socket timeout shows as `WouldBlock` on Unix and `TimedOut` on Windows: here always the latter.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}
