//! One probe: does a TCP port answer, how fast, and if not, why. A failed probe
//! is data, not an error. The verdict's time excludes the polite goodbye after it.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::clock;
use crate::model::{Mono, Sample, TEXT_LEN_MAX, Target, micros};
use crate::net::dial::dial;
use crate::net::resolve::Resolver;
use crate::text::cut;
use crate::units::Reach;

/// Longest wait for the other side's own goodbye.
pub const DRAIN_MAX: Duration = Duration::from_millis(100);
/// Most bytes read and thrown away meanwhile.
const DRAIN_BYTES_MAX: usize = 64 * 1024;

/// Connects to the target once (with its retries) where `reach` allows it, `due` being when
/// it should have started.
/// The connection, if any, comes along for [`goodbye`].
pub fn tcp(
    resolver: &Resolver,
    reach: &Reach,
    target: &Target,
    due: Mono,
) -> (Sample, Option<TcpStream>) {
    let at = clock::wall();
    let started = clock::mono();
    let deadline = started.after(target.timeout);
    let dialled = dial(resolver, reach, &target.address, deadline, target.retries);
    let us = micros(clock::mono().since(started));
    let by_name = target.address.literal().is_none();
    let (stream, failure) = match dialled.outcome {
        Ok(stream) => (Some(stream), None),
        Err(mut failure) => {
            failure.text = cut(&failure.text, TEXT_LEN_MAX).to_string();
            (None, Some(failure))
        }
    };
    let sample = Sample {
        target: target.name.clone(),
        at,
        us,
        failure,
        tries: dialled.tries,
        late_us: micros(started.since(due)),
        addr: dialled.addr.filter(|_| by_name).map(|a| a.to_string()),
        dns_stale: dialled.dns_stale,
    };
    (sample, stream)
}

/// Ends a connection the way a client that is done does: says so, hears the other
/// side out for a moment, closes. Some servers count anything else against the host.
pub fn goodbye(mut stream: TcpStream) {
    let deadline = clock::mono().after(DRAIN_MAX);
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
    use crate::model::Why;
    use std::net::TcpListener;

    fn target(port: u16) -> Target {
        Target {
            name: "t".parse().unwrap(),
            address: format!("127.0.0.1:{port}").parse().unwrap(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(3),
            retries: 0,
        }
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
        );
        goodbye(stream.unwrap());
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
        );
        assert_eq!(sample.failure.unwrap().why, Why::Refused);
        assert!(stream.is_none());
    }
}
