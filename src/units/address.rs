//! Where to connect to: a host and a port, as text. An address that was parsed is
//! fit to dial or to hand to a resolver; whether anything answers is not asked here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Longest host name, in bytes (RFC 1035, section 2.3.4, written out with dots).
pub const HOST_LEN_MAX: usize = 253;

/// A host name or IP address, and a port from 1 to 65535, checked by parsing.
///
/// Written `HOST:PORT`, an IPv6 address in brackets: `[::1]:80`. A name is made of
/// ASCII letters, digits, `-` and `_` in labels between dots; one whose last label is
/// digits alone would be taken for an IPv4 address by resolvers and must be one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    pub host: Host,
    /// Never 0.
    pub port: u16,
}

/// A host, by its address or by its name. Shown without brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    Ip(IpAddr),
    Name(Box<str>),
}

impl From<&str> for Host {
    fn from(text: &str) -> Host {
        match text.parse() {
            Ok(ip) => Host::Ip(ip),
            Err(_) => Host::Name(text.into()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(ip) => write!(f, "{ip}"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

impl HostPort {
    /// The address to connect to when the host is an IP address, needing no resolver.
    pub fn literal(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }

    /// Whether the host stands for this machine by what it is called: a loopback IP
    /// address, or `localhost` and the names below it (RFC 6761, section 6.3). A resolver
    /// that does not keep to that may still answer such a name with another address.
    pub fn is_loopback(&self) -> bool {
        let name = match &self.host {
            Host::Ip(ip) => return ip.to_canonical().is_loopback(),
            Host::Name(name) => name.strip_suffix('.').unwrap_or(name),
        };
        let last = name.rsplit('.').next();
        last.is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
    }
}

/// Which IP addresses of a name are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    #[default]
    Any,
    V4,
    V6,
}

impl Family {
    /// The word for it: `any`, `4`, `6`.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::Any => "any",
            Family::V4 => "4",
            Family::V6 => "6",
        }
    }

    /// Whether an address is of it.
    pub fn has(self, ip: IpAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => ip.is_ipv4(),
            Family::V6 => ip.is_ipv6(),
        }
    }
}

impl FromStr for Family {
    /// What was expected, for people.
    type Err = String;

    fn from_str(text: &str) -> Result<Family, String> {
        let all = [Family::Any, Family::V4, Family::V6];
        let found = all.into_iter().find(|family| family.as_str() == text);
        found.ok_or_else(|| "expected \"any\", \"4\" or \"6\"".to_string())
    }
}

impl FromStr for HostPort {
    /// What was expected, for people.
    type Err = String;

    fn from_str(text: &str) -> Result<HostPort, String> {
        let expected = |what: &str| format!("expected HOST:PORT {what}");
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| expected("such as \"10.0.0.7:443\""))?;
        let port = parse_port(port).ok_or_else(|| expected("with a port from 1 to 65535"))?;
        let host = match host.strip_prefix('[') {
            Some(open) => {
                let ip = open.strip_suffix(']').and_then(|ip| ip.parse().ok());
                let ip: Ipv6Addr =
                    ip.ok_or_else(|| expected("with an IPv6 address in the brackets"))?;
                Host::Ip(ip.into())
            }
            None if host.contains(':') => return Err(expected("with an IPv6 address in brackets")),
            None if is_host(host) => host.into(),
            None => return Err(expected("with a host name or an IP address")),
        };
        Ok(HostPort { host, port })
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0)
}

fn is_host(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let label = |l: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !l.is_empty() && l.bytes().all(allowed)
    };
    let numeric = |l: &str| l.bytes().all(|b| b.is_ascii_digit());
    host.len() <= HOST_LEN_MAX
        && labels.split('.').all(label)
        && (!labels.rsplit('.').next().is_some_and(numeric) || host.parse::<Ipv4Addr>().is_ok())
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { host, port } = self;
        match host {
            Host::Ip(IpAddr::V6(ip)) => f.pad(&format!("[{ip}]:{port}")),
            _ => f.pad(&format!("{host}:{port}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let name_253 = format!(
            "{}.{}.{}.{}",
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61)
        );
        let name_253_port = format!("{name_253}:1");
        for (text, host, port, written) in [
            ("127.0.0.1:80", "127.0.0.1", 80, "127.0.0.1:80"),
            (
                "www.example.org:443",
                "www.example.org",
                443,
                "www.example.org:443",
            ),
            ("example.org.:443", "example.org.", 443, "example.org.:443"),
            ("localhost:65535", "localhost", 65535, "localhost:65535"),
            ("A_b-c.x1:1", "A_b-c.x1", 1, "A_b-c.x1:1"),
            ("4you.2go:1", "4you.2go", 1, "4you.2go:1"),
            ("[::1]:80", "::1", 80, "[::1]:80"),
            (
                "[2001:DB8:0:0::1]:80",
                "2001:db8::1",
                80,
                "[2001:db8::1]:80",
            ),
            (
                "[::ffff:10.0.0.7]:22",
                "::ffff:10.0.0.7",
                22,
                "[::ffff:10.0.0.7]:22",
            ),
            (&name_253_port, &name_253, 1, &name_253_port),
        ] {
            let address: HostPort = text.parse().unwrap();
            assert_eq!(
                (address.host.to_string(), address.port),
                (host.to_string(), port),
                "{text}"
            );
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let name_254 = format!("{}:1", "a".repeat(HOST_LEN_MAX + 1));
        for text in [
            "",
            ":",
            "host",
            "host:",
            ":80",
            "[]:80",
            "host:0",
            "host:00",
            "host:65536",
            "host:99999999999",
            "host:+80",
            "host:-1",
            "host:080",
            "host: 80",
            "host:80 ",
            " host:80",
            "ho st:80",
            "host:٣",
            "host:80\n",
            "ho\u{1b}st:80",
            "ho\0st:80",
            "host:http",
            "a:b:80",
            "::1:80",
            "::1",
            "[::1]",
            "[::1]80",
            "[::1:80",
            "::1]:80",
            "[::1]]:80",
            "[[::1]]:80",
            "[::g]:80",
            "[1:2:3]:80",
            "[::1%eth0]:80",
            "[127.0.0.1]:80",
            "[host]:80",
            "10.0.0.256:80",
            "1.2.3:80",
            "1.2.3.4.5:80",
            "010.0.0.1:80",
            "1234:80",
            "1.2.3.4.:80",
            ".:80",
            "..:80",
            ".a:80",
            "a..b:80",
            "a...:80",
            "é.org:80",
            "ho/st:80",
            "user@host:80",
            "http://host:80",
            "host:80/",
            "*:80",
            "host:80:90",
            &name_254,
        ] {
            let error = text.parse::<HostPort>().unwrap_err();
            assert!(
                error.starts_with("expected HOST:PORT "),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn address_errors_say_what_is_wrong() {
        for (text, expected) in [
            ("host", "expected HOST:PORT such as \"10.0.0.7:443\""),
            ("host:0", "expected HOST:PORT with a port from 1 to 65535"),
            (
                "::1:80",
                "expected HOST:PORT with an IPv6 address in brackets",
            ),
            (
                "[::g]:80",
                "expected HOST:PORT with an IPv6 address in the brackets",
            ),
            (
                ":80",
                "expected HOST:PORT with a host name or an IP address",
            ),
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(expected.to_string()));
        }
    }

    #[test]
    fn only_ip_addresses_are_literal() {
        for (text, expected) in [
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("[fe80::1]:80", Some("[fe80::1]:80")),
            ("localhost:80", None),
            ("127.0.0.1.example.org:80", None),
        ] {
            let literal = text.parse::<HostPort>().unwrap().literal();
            assert_eq!(literal, expected.map(|a| a.parse().unwrap()), "{text}");
        }
    }
    #[test]
    fn loopback_is_told_by_the_host() {
        for (host, want) in [
            ("127.0.0.1", true),
            ("127.255.255.254", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost", true),
            ("LocalHost.", true),
            ("attic.localhost", true),
            ("a.b.LOCALHOST.", true),
            ("10.0.0.7", false),
            ("128.0.0.1", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("[::2]", false),
            ("[::ffff:10.0.0.7]", false),
            ("[::127.0.0.1]", false),
            ("localhost.example.org", false),
            ("notlocalhost", false),
            ("localhost4", false),
            ("127.0.0.1.example.org", false),
        ] {
            let address: HostPort = format!("{host}:1").parse().unwrap();
            assert_eq!(address.is_loopback(), want, "{host}");
        }
    }
}
