//! One probe: does a TCP port answer as it is to, how fast, where the time goes, and if
//! not, why. A failed probe is data, not an error. The verdict's time excludes the polite
//! goodbye after it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::clock;
use crate::model::{Failure, Mono, Phases, Sample, TEXT_LEN_MAX, Target, Want, Why, micros};
use crate::net::dial::{dial, why_of};
use crate::net::resolve::Resolver;
use crate::talk::{Next, Talk};
use crate::text::cut;
use crate::units::Reach;

/// Longest wait for the other side's own goodbye; also at most a quarter of the interval.
pub const DRAIN_MAX: Duration = Duration::from_millis(100);
/// Most bytes taken by one read while a script is played.
const READ_BYTES: usize = 4096;
/// Most bytes read and thrown away meanwhile.
const DRAIN_BYTES_MAX: usize = 64 * 1024;

/// Who is told of each step of a probe, if anyone.
pub type Note<'n> = Option<&'n mut dyn FnMut(&str)>;

/// Probes the target once (with its retries) where `reach` allows it, `due` being when it
/// should have started. The connection, if any, comes along for [`goodbye`]. Each step is
/// told to `note` as it is done.
///
/// # Errors
/// This host had no descriptors or memory to make it, which says nothing of the target.
pub fn tcp(
    resolver: &Resolver,
    reach: &Reach,
    target: &Target,
    due: Mono,
    note: &mut Note<'_>,
) -> std::result::Result<(Sample, Option<TcpStream>), String> {
    let at = clock::wall();
    let started = clock::mono();
    let deadline = started.after(target.timeout);
    let to = (&target.address, target.family);
    let dialled = dial(resolver, reach, to, deadline, target.retries);
    if let (true, Err(failure)) = (dialled.exhausted, &dialled.outcome) {
        return Err(failure.text.clone());
    }
    let mut phases = Phases {
        dns: dialled.dns.map(micros),
        connect: dialled.connect.map(micros),
        ..Phases::default()
    };
    tell(note, || match (&dialled.outcome, &dialled.addr) {
        (Ok(_), Some(addr)) => format!("connected to {addr}"),
        (Ok(_), None) => "connected".to_string(),
        (Err(failure), _) => failure.text.clone(),
    });
    let (stream, failure) = judge(dialled.outcome, target, deadline, &mut phases, note);
    if let Some(failure) = &failure {
        tell(note, || {
            format!("{}: {}", failure.why.as_str(), failure.text)
        });
    }
    let us = micros(clock::mono().since(started));
    let by_name = target.address.literal().is_none();
    let sample = Sample {
        target: target.name.clone(),
        at,
        us,
        phases,
        failure: failure.map(|failure| Failure {
            text: cut(&failure.text, TEXT_LEN_MAX).to_string(),
            ..failure
        }),
        tries: dialled.tries,
        late_us: micros(started.since(due)),
        addr: dialled.addr.filter(|_| by_name).map(Box::new),
        dns_stale: dialled.dns_stale,
        retransmit: false,
        each: target.each(),
    };
    Ok((sample, stream))
}

/// Whether what dialling came to, and what is said then, is as the target is to be.
fn judge(
    outcome: Result<TcpStream, Failure>,
    target: &Target,
    deadline: Mono,
    phases: &mut Phases,
    note: &mut Note<'_>,
) -> (Option<TcpStream>, Option<Failure>) {
    let shut = |why| match target.want {
        Want::Open => false,
        Want::Refused => why == Why::Refused,
        Want::Closed => matches!(
            why,
            Why::Refused | Why::Timeout | Why::Unreachable | Why::Reset
        ),
    };
    match (outcome, target.want) {
        (Err(failure), _) if shut(failure.why) => (None, None),
        (Err(failure), _) => (None, Some(failure)),
        (Ok(stream), Want::Open) if target.script.steps.is_empty() => (Some(stream), None),
        (Ok(mut stream), Want::Open) => {
            let failure = talk(&mut stream, target, deadline, phases, note).err();
            (Some(stream), failure)
        }
        (Ok(stream), want) => {
            let (address, want) = (&target.address, want.as_str());
            let text = format!("connect to {address}: open, and it is to be {want}");
            let why = Why::Mismatch;
            (Some(stream), Some(Failure { why, text }))
        }
    }
}

/// Plays the target's script on a fresh connection.
fn talk(
    stream: &mut TcpStream,
    target: &Target,
    deadline: Mono,
    phases: &mut Phases,
    note: &mut Note<'_>,
) -> Result<(), Failure> {
    let connected = clock::mono();
    let since = |from: Mono| micros(clock::mono().since(from));
    let named = |failure: Failure| Failure {
        text: format!("talk to {}: {}", target.address, failure.text),
        ..failure
    };
    // Small pieces are to go out at once; where that can't be had they go out a little later.
    let _ = stream.set_nodelay(true);
    let mut script = Talk::new(&target.script, connected, deadline);
    // Not on the stack: that would cost each of many waiting threads a page.
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match script.next(clock::mono()).map_err(named)? {
            Next::Done => {
                phases.matched = Some(since(connected));
                tell(note, || "what came is as expected".to_string());
                return Ok(());
            }
            Next::Send(bytes) => {
                let left = deadline.since(clock::mono());
                write(stream, bytes, left).map_err(|error| named(broken("send", &error)))?;
                tell(note, || format!("sent {}", bytes_text(bytes)));
                script.sent(clock::mono());
            }
            Next::Read { until } => match read(stream, &mut buffer, until) {
                Ok(0) => {
                    tell(note, || "closed by the other side".to_string());
                    script.closed();
                }
                Ok(count) => {
                    phases.first_byte.get_or_insert_with(|| since(connected));
                    tell(note, || {
                        format!("received {}", bytes_text(&buffer[..count]))
                    });
                    script.heard(&buffer[..count]);
                }
                // The time is judged by the script.
                Err(error) if why_of(&error) == Why::Timeout => {}
                Err(error) => return Err(named(broken("read", &error))),
            },
        }
    }
}

fn tell(note: &mut Note<'_>, what: impl FnOnce() -> String) {
    if let Some(note) = note {
        note(&what());
    }
}

/// Bytes for people, cut where there are many.
fn bytes_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = crate::text::escape(&text);
    format!("{} bytes: {}", bytes.len(), cut(&text, TEXT_LEN_MAX))
}

fn broken(doing: &str, error: &io::Error) -> Failure {
    let why = why_of(error);
    let cause = match why {
        Why::Timeout => "timed out".to_string(),
        _ => crate::error::plain(&error.to_string()),
    };
    Failure {
        why,
        text: format!("{doing}: {cause}"),
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8], left: Duration) -> io::Result<()> {
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_write_timeout(Some(left))?;
    stream.write_all(bytes)
}

fn read(stream: &mut TcpStream, buffer: &mut [u8], until: Mono) -> io::Result<usize> {
    let left = until.since(clock::mono());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    stream.read(buffer)
}

/// Ends a connection the way a client that is done does: says so, hears the other
/// side out for a moment, closes. Some servers count anything else against the host.
/// How long that took.
pub fn goodbye(stream: TcpStream, interval: Duration) -> Duration {
    let began = clock::mono();
    drain(stream, began.after(DRAIN_MAX.min(interval / 4)));
    clock::mono().since(began)
}

fn drain(mut stream: TcpStream, deadline: Mono) {
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let mut sink = [0; 1024];
    let mut total = 0;
    while total < DRAIN_BYTES_MAX {
        let left = deadline.since(clock::mono());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut sink) {
            Ok(count) if count > 0 => total += count,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Terms;
    use std::net::TcpListener;

    fn target(port: u16) -> Target {
        Target::new(
            "t".parse().unwrap(),
            format!("127.0.0.1:{port}").parse().unwrap(),
            Terms::every(Duration::from_secs(10), Duration::from_secs(3)),
        )
    }

    #[test]
    fn a_port_that_answers_is_up_and_left_politely() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = target(listener.local_addr().unwrap().port());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).map(|_| rest.len())
        });
        let (sample, stream) = tcp(
            &Resolver::default(),
            &Reach::default(),
            &target,
            clock::mono(),
            &mut None,
        )
        .unwrap();
        goodbye(stream.unwrap(), target.interval);
        assert!(sample.ok());
        assert_eq!(sample.tries, 1);
        assert_eq!(sample.addr, None);
        assert_eq!(server.join().unwrap().unwrap(), 0);
    }

    #[test]
    fn a_closed_port_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = target(listener.local_addr().unwrap().port());
        drop(listener);
        let (sample, stream) = tcp(
            &Resolver::default(),
            &Reach::default(),
            &target,
            clock::mono(),
            &mut None,
        )
        .unwrap();
        assert_eq!(sample.failure.unwrap().why, Why::Refused);
        assert!(stream.is_none());
    }
}
