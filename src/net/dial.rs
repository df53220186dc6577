//! Connecting to a host and port: one deadline over name resolution, all
//! addresses and all tries; the next address is tried on any error. An address
//! outside the caller's [`Reach`] is never connected to, however it was come by.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::clock;
use crate::error::plain;
use crate::model::{Failure, Mono, Why};
use crate::net::resolve::Resolver;
use crate::units::{Family, HostPort, Reach, duration_text};

/// Rest between two rounds over the addresses: a refusal repeated at once says nothing new.
pub const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What dialling came to, and how.
#[derive(Debug)]
pub struct Dialled {
    pub outcome: Result<TcpStream, Failure>,
    /// The address that gave the verdict.
    pub addr: Option<SocketAddr>,
    /// Connection attempts made.
    pub tries: u32,
    /// How long the name took, for an address given by name.
    pub dns: Option<Duration>,
    /// How long the connection took that came about.
    pub connect: Option<Duration>,
    /// Whether the addresses were the last good ones, because resolution failed.
    pub dns_stale: bool,
    /// Whether this host had no descriptors or memory for the last attempt.
    pub exhausted: bool,
}

/// The system's codes for that: ENFILE, EMFILE and ENOBUFS, or what Windows has for them.
const EXHAUSTED: &[i32] = match (cfg!(windows), cfg!(target_os = "linux")) {
    (true, _) => &[10024, 10055],
    (false, true) => &[23, 24, 105],
    (false, false) => &[23, 24, 55],
};

/// Connects to `address` before `deadline`; up to `retries` more rounds over its
/// addresses when one ends early (refused, reset, unreachable). Addresses of another
/// family than the one asked for are left out, and those outside `reach`; a failure says
/// which.
pub fn dial(
    resolver: &Resolver,
    reach: &Reach,
    (address, family): (&HostPort, Family),
    deadline: Mono,
    retries: u32,
) -> Dialled {
    let start = clock::mono();
    let mut resolved = match resolver.resolve(address, deadline) {
        Ok(resolved) => resolved,
        Err(text) => return unresolved(address, &text),
    };
    resolved.addrs.retain(|addr| family.has(addr.ip()));
    if resolved.addrs.is_empty() {
        let family = family.as_str();
        return unresolved(address, &format!("no address of IPv{family}"));
    }
    let by_name = address.literal().is_none();
    let dns = by_name.then(|| clock::mono().since(start));
    let (addrs, refusals) = within(reach, &resolved.addrs);
    let mut dialled = Dialled {
        outcome: Err(local(format!("connect to {address}: no address"))),
        addr: None,
        tries: 0,
        dns,
        connect: None,
        dns_stale: resolved.stale,
        exhausted: false,
    };
    if addrs.is_empty() && !refusals.is_empty() {
        dialled.outcome = Err(local(format!("connect to {address}: {refusals}")));
        return dialled;
    }
    for round in 0..=retries {
        if round > 0 && !pause(deadline) {
            break;
        }
        one_round(&mut dialled, address, &addrs, start, deadline);
        if dialled.outcome.is_ok() {
            break;
        }
    }
    if let Err(failure) = &mut dialled.outcome {
        if !refusals.is_empty() {
            failure.text.push_str(&format!("; left out: {refusals}"));
        }
    }
    dialled
}

/// The addresses that may be connected to, and why the others may not.
fn within(reach: &Reach, addrs: &[SocketAddr]) -> (Vec<SocketAddr>, String) {
    let mut refusals = Vec::new();
    let mut addrs = addrs.to_vec();
    addrs.retain(|addr| match reach.refusal(addr.ip()) {
        Some(refusal) => {
            refusals.push(refusal);
            false
        }
        None => true,
    });
    (addrs, refusals.join(", "))
}

fn one_round(
    dialled: &mut Dialled,
    address: &HostPort,
    addrs: &[SocketAddr],
    start: Mono,
    deadline: Mono,
) {
    for (index, addr) in addrs.iter().enumerate() {
        let now = clock::mono();
        let left = deadline.since(now);
        let others = (addrs.len() - index - 1) as u32;
        let budget = left / (others + 1);
        if budget.is_zero() {
            if dialled.tries == 0 {
                let text = format!("connect to {address}: no time left after name resolution");
                dialled.outcome = Err(Failure {
                    why: Why::Timeout,
                    text,
                });
            }
            return;
        }
        dialled.tries += 1;
        dialled.addr = Some(*addr);
        dialled.exhausted = false;
        match connect(addr, budget) {
            Ok(stream) => {
                dialled.connect = Some(clock::mono().since(now));
                dialled.outcome = Ok(stream);
                return;
            }
            Err(error) => {
                let spent = if addrs.len() == 1 {
                    deadline.since(start)
                } else {
                    budget
                };
                dialled.exhausted = is_exhausted(&error);
                dialled.outcome = Err(failure(&error, address, *addr, spent));
            }
        }
    }
}

/// Connects, but not to itself: where the port asked for is one that the system may choose
/// for this end, and nobody listens, both ends may come to be the same (simultaneous open,
/// RFC 9293, section 3.5).
fn connect(addr: &SocketAddr, budget: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(addr, budget)?;
    match stream.local_addr()? == *addr {
        true => Err(io::ErrorKind::ConnectionRefused.into()),
        false => Ok(stream),
    }
}

/// Rests between rounds; false when the deadline leaves no time for another.
fn pause(deadline: Mono) -> bool {
    let enough = deadline.since(clock::mono()) > RETRY_PAUSE * 2;
    if enough {
        clock::sleep(RETRY_PAUSE);
    }
    enough
}

fn unresolved(address: &HostPort, text: &str) -> Dialled {
    Dialled {
        outcome: Err(Failure {
            why: Why::Dns,
            text: format!("resolve {}: {text}", address.host),
        }),
        addr: None,
        tries: 0,
        dns: None,
        connect: None,
        dns_stale: false,
        exhausted: false,
    }
}

fn local(text: String) -> Failure {
    Failure {
        why: Why::Local,
        text,
    }
}

fn failure(error: &io::Error, address: &HostPort, addr: SocketAddr, budget: Duration) -> Failure {
    let object = if address.literal().is_some() {
        address.to_string()
    } else {
        format!("{address} ({})", addr.ip())
    };
    let why = why_of(error);
    let cause = match why {
        Why::Timeout => format!("timed out after {}", rounded(budget)),
        Why::Refused => "refused".to_string(),
        _ => plain(&error.to_string()),
    };
    Failure {
        why,
        text: format!("connect to {object}: {cause}"),
    }
}

/// A budget as people think of it: whole milliseconds.
fn rounded(budget: Duration) -> String {
    duration_text(Duration::from_millis(
        (budget.as_secs_f64() * 1000.0).round() as u64,
    ))
}

fn is_exhausted(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    error.kind() == io::ErrorKind::OutOfMemory || code.is_some_and(|code| EXHAUSTED.contains(&code))
}

/// The failure class of a connect or read error.
pub fn why_of(error: &io::Error) -> Why {
    use io::ErrorKind::*;
    match error.kind() {
        ConnectionRefused => Why::Refused,
        TimedOut | WouldBlock => Why::Timeout,
        HostUnreachable | NetworkUnreachable | NetworkDown => Why::Unreachable,
        ConnectionReset | ConnectionAborted | BrokenPipe => Why::Reset,
        UnexpectedEof => Why::Closed,
        _ => Why::Local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn resolver(addrs: &'static [&'static str]) -> Resolver {
        Resolver::with(move |_| Ok(addrs.iter().map(|a| a.parse().unwrap()).collect()))
    }

    fn anything(resolver: &Resolver, address: &HostPort, deadline: Mono, retries: u32) -> Dialled {
        let any = (address, Family::Any);
        dial(resolver, &Reach::default(), any, deadline, retries)
    }

    fn denying(networks: &[&str]) -> Reach {
        Reach::parse([].into_iter(), networks.iter().copied()).unwrap()
    }

    fn soon() -> Mono {
        clock::mono().after(Duration::from_secs(5))
    }

    #[test]
    fn want_of_descriptors_or_memory_is_the_hosts_own() {
        let codes = EXHAUSTED
            .iter()
            .map(|code| io::Error::from_raw_os_error(*code));
        assert!(
            codes
                .chain([io::ErrorKind::OutOfMemory.into()])
                .all(|e| is_exhausted(&e))
        );
        for kind in [
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::AddrNotAvailable,
        ] {
            assert!(!is_exhausted(&kind.into()), "{kind}");
        }
    }

    #[test]
    fn the_next_address_is_tried_on_any_error() {
        let listener = TcpListener::bind("127.0.0.2:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let address: HostPort = format!("two.example:{port}").parse().unwrap();
        let dialled = anything(&resolver(&["127.0.0.3", "127.0.0.2"]), &address, soon(), 0);
        assert!(dialled.outcome.is_ok());
        assert_eq!(dialled.addr, Some(listener.local_addr().unwrap()));
        assert_eq!(dialled.tries, 2);
    }

    #[test]
    fn a_refusal_is_tried_again_and_named() {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address: HostPort = format!("127.0.0.1:{port}").parse().unwrap();
        let dialled = anything(&resolver(&[]), &address, soon(), 1);
        let failure = dialled.outcome.unwrap_err();
        assert_eq!(failure.why, Why::Refused);
        assert_eq!(
            failure.text,
            format!("connect to 127.0.0.1:{port}: refused")
        );
        assert_eq!(dialled.tries, 2);
    }

    #[test]
    fn a_spent_deadline_is_a_timeout_not_a_call() {
        let address: HostPort = "127.0.0.1:1".parse().unwrap();
        let dialled = anything(&resolver(&[]), &address, clock::mono(), 3);
        assert_eq!(dialled.outcome.unwrap_err().why, Why::Timeout);
        assert_eq!(dialled.tries, 0);
    }

    #[test]
    fn a_name_without_addresses_is_a_dns_failure() {
        let resolver = Resolver::with(|_| Err(io::Error::other("no such host")));
        let address: HostPort = "nowhere.example:80".parse().unwrap();
        let failure = anything(&resolver, &address, soon(), 1)
            .outcome
            .unwrap_err();
        assert_eq!(failure.why, Why::Dns);
        assert_eq!(failure.text, "resolve nowhere.example: no such host");
    }

    #[test]
    fn only_addresses_of_the_family_are_connected_to() {
        let both = resolver(&["::1", "127.0.0.1"]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let address: HostPort = format!("both.example:{port}").parse().unwrap();
        let of = |resolver: &Resolver, family| {
            dial(resolver, &Reach::default(), (&address, family), soon(), 0)
        };
        let dialled = of(&both, Family::V4);
        assert!(dialled.outcome.is_ok());
        assert_eq!(dialled.tries, 1);
        let failure = of(&resolver(&["127.0.0.1"]), Family::V6)
            .outcome
            .unwrap_err();
        assert_eq!(failure.why, Why::Dns);
        assert_eq!(failure.text, "resolve both.example: no address of IPv6");
    }

    #[test]
    fn what_is_denied_is_left_out_and_named() {
        let listener = TcpListener::bind("127.0.0.2:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let two = resolver(&["127.0.0.2", "127.0.0.3"]);
        let name = format!("two.example:{port}");
        let literal = format!("127.0.0.2:{port}");
        let mapped = format!("[::ffff:127.0.0.2]:{port}");
        let all = "127.0.0.2 is within --deny 127.0.0.0/8, 127.0.0.3 is within --deny 127.0.0.0/8";
        let one = "127.0.0.2 is within --deny 127.0.0.2/32";
        for (text, deny, why, tries, expected) in [
            (&name, "127.0.0.0/8", Why::Local, 0, format!(": {all}")),
            (&literal, "127.0.0.2", Why::Local, 0, format!(": {one}")),
            (&mapped, "127.0.0.2", Why::Local, 0, format!(": {one}")),
            (
                &name,
                "127.0.0.2",
                Why::Refused,
                2,
                format!(" (127.0.0.3): refused; left out: {one}"),
            ),
        ] {
            let address = text.parse().unwrap();
            let any = (&address, Family::Any);
            let dialled = dial(&two, &denying(&[deny]), any, soon(), 1);
            let failure = dialled.outcome.unwrap_err();
            assert_eq!((failure.why, dialled.tries), (why, tries), "{text} {deny}");
            assert_eq!(failure.text, format!("connect to {text}{expected}"));
            assert_eq!(dialled.addr.is_some(), tries > 0);
        }
        let accepted = listener.accept().map(|_| ());
        assert_eq!(accepted.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let dialled = dial(
            &two,
            &denying(&["127.0.0.3"]),
            (&name.parse().unwrap(), Family::Any),
            soon(),
            1,
        );
        assert_eq!(dialled.addr, Some(listener.local_addr().unwrap()));
        assert!(dialled.outcome.is_ok());
    }
}
