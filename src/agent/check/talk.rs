//! The edge of `check`: looks the host up, connects, sends, waits, reads, all under one
//! deadline. What the answer means is said elsewhere.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use super::answer::{Answer, Reading};
use super::options::Options;
use super::verdict::{self, Outcome, quoted};
use crate::cli;
use crate::clock;
use crate::model::{Mono, Why};
use crate::net::dial::dial;
use crate::net::resolve::Resolver;
use crate::units::{HostPort, Reach, duration_text};

/// Longest wait for more once an answer has begun that does not fit yet.
const MORE_MAX: Duration = Duration::from_secs(2);
/// Bytes read at a time, as check_tcp does: `-m` is looked at after each read.
const READ_LEN: usize = 1024;

/// Runs the check. The connection, if any, comes along to be closed after the verdict
/// is told.
pub fn talk(options: &Options) -> (Outcome, Option<TcpStream>) {
    let start = clock::mono();
    let talk = Talk {
        options,
        start,
        deadline: start.after(Duration::from_secs(options.timeout_s.into())),
    };
    let mut stream = match talk.connect() {
        Ok(stream) => stream,
        Err(outcome) => return (outcome, None),
    };
    let outcome = talk.converse(&mut stream).unwrap_or_else(|end| match end {
        End::TimedOut => {
            talk.note("out of time");
            Outcome::TimedOut
        }
        End::NoAnswer => Outcome::NoAnswer,
    });
    (outcome, Some(stream))
}

struct Talk<'a> {
    options: &'a Options,
    start: Mono,
    deadline: Mono,
}

/// Why a conversation ends early.
enum End {
    TimedOut,
    NoAnswer,
}

impl Talk<'_> {
    /// A line of the transcript, when one is wanted.
    fn note(&self, what: &str) {
        if self.options.verbose {
            let since = clock::mono().since(self.start);
            cli::print(&verdict::stamped(since, what));
        }
    }

    fn left(&self) -> Result<Duration, End> {
        match self.deadline.since(clock::mono()) {
            Duration::ZERO => Err(End::TimedOut),
            left => Ok(left),
        }
    }

    fn connect(&self) -> Result<TcpStream, Outcome> {
        let Options {
            host, port, family, ..
        } = self.options;
        let literal: Option<IpAddr> = host.parse().ok();
        if literal.is_some_and(|ip| !family.has(ip)) {
            self.note(&format!("{host} is of the other family"));
            return Err(Outcome::NoAddress);
        }
        // Unlike those of a configuration a host here may be anything that the system
        // takes for one, such as 127.1.
        let address = HostPort {
            host: host.as_str().into(),
            port: *port,
        };
        let (resolver, to) = (Resolver::default(), (&address, *family));
        let dialled = dial(&resolver, &Reach::default(), to, self.deadline, 0);
        match dialled.outcome {
            Ok(stream) => {
                let addr = dialled.addr.map_or(address.to_string(), |a| a.to_string());
                self.note(&format!("connected to {addr}"));
                Ok(stream)
            }
            Err(failure) => {
                self.note(&failure.text);
                Err(match failure.why {
                    Why::Timeout => Outcome::TimedOut,
                    _ if self.left().is_err() => Outcome::TimedOut,
                    Why::Dns => Outcome::NoAddress,
                    _ => Outcome::NotConnected(verdict::system_words(&failure.text)),
                })
            }
        }
    }

    fn converse(&self, stream: &mut TcpStream) -> Result<Outcome, End> {
        if let Some(bytes) = &self.options.send {
            self.send(stream, bytes)?;
        }
        let delay = Duration::from_secs(self.options.delay_s.into());
        if !delay.is_zero() {
            clock::sleep(delay.min(self.left()?));
            self.left()?;
            self.note(&format!("waited {}", duration_text(delay)));
        }
        let answer = match self.options.expect.is_empty() {
            true => Answer::default(),
            false => self.read(stream)?,
        };
        if let Some(bytes) = &self.options.quit {
            self.send(stream, bytes)?;
        }
        let took = clock::mono().since(self.start).saturating_sub(delay);
        Ok(Outcome::Done { took, answer })
    }

    /// Sends all of `bytes`. A peer that does not take them is no failure of its own: what
    /// counts is what it answers.
    fn send(&self, stream: &mut TcpStream, bytes: &[u8]) -> Result<(), End> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = self.left()?;
            let sent = stream
                .set_write_timeout(Some(left))
                .and_then(|()| stream.write(rest));
            match sent {
                Ok(sent) if sent > 0 => rest = &rest[sent..],
                Err(error) if passing(&error) => {}
                _ => {
                    self.note(&format!("the peer does not take {}", quoted(rest)));
                    return Ok(());
                }
            }
        }
        self.note(&format!("sent {} bytes: {}", bytes.len(), quoted(bytes)));
        Ok(())
    }

    /// Reads until the answer fits, is enough, or is not going to fit.
    fn read(&self, stream: &mut TcpStream) -> Result<Answer, End> {
        let mut answer = Answer::default();
        let mut buffer = [0; READ_LEN];
        let mut until = self.deadline;
        loop {
            let count = match self.read_some(stream, &mut buffer, until)? {
                Heard::Some(count) => count,
                Heard::Quiet => {
                    self.note(&format!("nothing more for {}", duration_text(MORE_MAX)));
                    return Ok(answer);
                }
                Heard::Ended if answer.is_empty() => return Err(End::NoAnswer),
                Heard::Ended => return Ok(answer),
            };
            let chunk = &buffer[..count];
            self.note(&format!("received {count} bytes: {}", quoted(chunk)));
            let reading = answer.take(chunk, self.options);
            self.note(&format!("expectation: {:?}", answer.fit).to_lowercase());
            if reading == Reading::Ends {
                return Ok(answer);
            }
            until = clock::mono().after(MORE_MAX);
        }
    }

    fn read_some(
        &self,
        stream: &mut TcpStream,
        buffer: &mut [u8],
        until: Mono,
    ) -> Result<Heard, End> {
        loop {
            let left = self.left()?.min(until.since(clock::mono()));
            if left.is_zero() {
                return Ok(Heard::Quiet);
            }
            let read = stream
                .set_read_timeout(Some(left))
                .and_then(|()| stream.read(buffer));
            match read {
                Ok(0) => self.note("the peer has ended the connection"),
                Ok(count) => return Ok(Heard::Some(count)),
                Err(error) if passing(&error) => continue,
                Err(error) => self.note(&format!("the connection broke: {error}")),
            }
            return Ok(Heard::Ended);
        }
    }
}

/// What one read came to.
enum Heard {
    Some(usize),
    /// Nothing came in the time given.
    Quiet,
    Ended,
}

/// A wait that ended or was interrupted: the deadline tells what that means.
fn passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
