//! Networks as rules (RFC 4632, RFC 4291 section 2.3), and what an agent may be told
//! to probe by them: `--allow` and `--deny`.
//!
//! Pure: whoever resolves names and connects asks here about each address. An
//! IPv4-mapped IPv6 address counts as the IPv4 address, in rules and in what is
//! checked; the unspecified address counts as the loopback that it connects to, too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Most rules of one kind.
pub const RULES_MAX: usize = 64;

/// A network: an address whose bits after the first `len` are zero.
///
/// Written `10.0.0.0/8` or `2001:db8::/32`; an address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// Never IPv4-mapped.
    network: IpAddr,
    len: u8,
}

impl Cidr {
    /// Whether the address lies within.
    pub fn contains(&self, ip: IpAddr) -> bool {
        masked(ip.to_canonical(), self.len) == self.network
    }
}

/// The address with zeros after its first `len` bits.
fn masked(ip: IpAddr, len: u8) -> IpAddr {
    let after = |bits: u32| bits.saturating_sub(u32::from(len));
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(after(32)).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(after(128)).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

impl FromStr for Cidr {
    /// What was expected, for people.
    type Err = String;

    fn from_str(text: &str) -> Result<Cidr, String> {
        let expected = "expected a network such as \"10.0.0.0/8\"";
        let (ip, len) = read(text).ok_or(expected)?;
        let (network, len) = match ip.to_canonical() {
            v4 if v4.is_ipv4() && ip.is_ipv6() && len >= 96 => (v4, len - 96),
            _ => (ip, len),
        };
        let meant = Cidr {
            network: masked(network, len),
            len,
        };
        if meant.network != network {
            return Err(format!("{expected}; did you mean {meant}?"));
        }
        Ok(meant)
    }
}

/// Address and length as written, host bits and all.
fn read(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, len) = match text.split_once('/') {
        Some((ip, len)) => (ip, Some(len)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let len_max = if ip.is_ipv4() { 32 } else { 128 };
    let len = match len {
        None => len_max,
        Some("0") => 0,
        Some(digits) if digits.starts_with(['0', '+']) => return None,
        Some(digits) => digits.parse().ok().filter(|len| *len <= len_max)?,
    };
    Some((ip, len))
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.len)
    }
}

/// What may be connected to; the default is anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    allow: Vec<Cidr>,
    deny: Vec<Cidr>,
}

impl Reach {
    /// Reads the values given to `--allow` and `--deny`.
    ///
    /// # Errors
    /// `--deny 10.0.0.7/8: expected a network such as "10.0.0.0/8"; did you mean 10.0.0.0/8?`
    pub fn parse<'a>(
        allow: impl Iterator<Item = &'a str>,
        deny: impl Iterator<Item = &'a str>,
    ) -> Result<Reach, String> {
        Ok(Reach {
            allow: rules("--allow", allow)?,
            deny: rules("--deny", deny)?,
        })
    }

    /// Why `ip` must not be connected to, or `None` when it may be. A denial wins over
    /// an allowance; where there are allowances, what none covers is refused.
    pub fn refusal(&self, ip: IpAddr) -> Option<String> {
        let ip = ip.to_canonical();
        let there = connects_to(ip);
        let denied = |rule: &&Cidr| rule.contains(ip) || rule.contains(there);
        let cause = if let Some(rule) = self.deny.iter().find(denied) {
            format!("is within --deny {rule}")
        } else if !self.allow.is_empty() && !self.allow.iter().any(|rule| rule.contains(there)) {
            "is within no --allow".to_string()
        } else {
            return None;
        };
        Some(match there == ip {
            true => format!("{ip} {cause}"),
            false => format!("{ip} (which is {there}) {cause}"),
        })
    }
}

/// Where the system connects to when told this address: the unspecified one means
/// this host (Linux, ip(7); the BSDs), which a rule about loopback must not miss.
fn connects_to(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

fn rules<'a>(name: &str, texts: impl Iterator<Item = &'a str>) -> Result<Vec<Cidr>, String> {
    let mut rules = Vec::new();
    for text in texts {
        let rule = text.parse();
        rules.push(rule.map_err(|expected: String| format!("{name} {text}: {expected}"))?);
    }
    match rules.len() {
        0..=RULES_MAX => Ok(rules),
        count => Err(format!(
            "{name}: expected at most {RULES_MAX} networks, found {count}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_read_written_and_contain() {
        for (text, written, inside, outside) in [
            ("10.0.0.0/8", "10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.7", "10.0.0.7/32", "10.0.0.7", "10.0.0.6"),
            ("10.0.0.6/31", "10.0.0.6/31", "10.0.0.7", "10.0.0.8"),
            ("128.0.0.0/1", "128.0.0.0/1", "255.0.0.1", "127.9.9.9"),
            ("0.0.0.0/0", "0.0.0.0/0", "255.255.255.255", "::1"),
            (
                "2001:DB8::/32",
                "2001:db8::/32",
                "2001:db8:ffff::1",
                "2001:db9::",
            ),
            ("::1", "::1/128", "::1", "::2"),
            ("8000::/1", "8000::/1", "ffff::", "7fff::"),
            ("::/0", "::/0", "fe80::1", "10.0.0.1"),
            (
                "10.0.0.0/8",
                "10.0.0.0/8",
                "::ffff:10.1.2.3",
                "::ffff:11.0.0.0",
            ),
            (
                "::ffff:10.0.0.0/104",
                "10.0.0.0/8",
                "10.1.2.3",
                "::10.1.2.3",
            ),
            ("::ffff:10.0.0.7", "10.0.0.7/32", "10.0.0.7", "10.0.0.8"),
            ("::ffff:0:0/96", "0.0.0.0/0", "1.2.3.4", "::1"),
            // A short prefix around the mapped range is about IPv6 alone.
            ("::/64", "::/64", "::1", "::ffff:1.2.3.4"),
        ] {
            let network: Cidr = text.parse().unwrap();
            assert_eq!(network.to_string(), written, "{text}");
            assert_eq!(written.parse(), Ok(network), "{text}");
            assert!(network.contains(ip(inside)), "{text} {inside}");
            assert!(!network.contains(ip(outside)), "{text} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "::/256",
            "10.0.0.0/08",
            "10.0.0.0/00",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "10.0.0.0 /8",
            "10.0.0.0/ 8",
            "10.0.0/8",
            "10/8",
            "010.0.0.0/8",
            "10.0.0.0/255.0.0.0",
            "[::1]",
            "[::]/0",
            "fe80::1%eth0",
            "localhost",
            "10.0.0.0:80",
            "any",
            "٣.0.0.0/8",
            "10.0.0.0/٣",
        ] {
            let error = "expected a network such as \"10.0.0.0/8\"".to_string();
            assert_eq!(text.parse::<Cidr>(), Err(error), "{text:?}");
        }
        for (text, meant) in [
            ("10.0.0.7/8", "10.0.0.0/8"),
            ("10.0.0.7/31", "10.0.0.6/31"),
            ("10.0.0.7/0", "0.0.0.0/0"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::1/127", "::/127"),
            ("::ffff:10.0.0.7/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.0/64", "::/64"),
        ] {
            let error = format!("expected a network such as \"10.0.0.0/8\"; did you mean {meant}?");
            assert_eq!(text.parse::<Cidr>(), Err(error), "{text}");
        }
    }

    fn reach(allow: &[&str], deny: &[&str]) -> Result<Reach, String> {
        Reach::parse(allow.iter().copied(), deny.iter().copied())
    }

    #[test]
    fn a_denial_wins_and_allowances_are_all_there_is() {
        let both = reach(&["10.0.0.0/8", "::1"], &["10.9.0.0/16", "10.9.9.0/24"]).unwrap();
        let denied = reach(&[], &["127.0.0.0/8", "::1"]).unwrap();
        for (reach, address, refusal) in [
            (&Reach::default(), "10.0.0.7", ""),
            (&Reach::default(), "0.0.0.0", ""),
            (&both, "10.0.0.7", ""),
            (&both, "::ffff:10.0.0.7", ""),
            (&both, "::1", ""),
            (&both, "::", ""),
            (&both, "10.9.9.9", "10.9.9.9 is within --deny 10.9.0.0/16"),
            (
                &both,
                "::ffff:10.9.9.9",
                "10.9.9.9 is within --deny 10.9.0.0/16",
            ),
            (&both, "11.0.0.1", "11.0.0.1 is within no --allow"),
            (&both, "::2", "::2 is within no --allow"),
            (
                &both,
                "0.0.0.0",
                "0.0.0.0 (which is 127.0.0.1) is within no --allow",
            ),
            (&denied, "126.0.0.1", ""),
            (
                &denied,
                "127.0.0.9",
                "127.0.0.9 is within --deny 127.0.0.0/8",
            ),
            (&denied, "::1", "::1 is within --deny ::1/128"),
            (
                &denied,
                "0.0.0.0",
                "0.0.0.0 (which is 127.0.0.1) is within --deny 127.0.0.0/8",
            ),
            (
                &denied,
                "::ffff:0.0.0.0",
                "0.0.0.0 (which is 127.0.0.1) is within --deny 127.0.0.0/8",
            ),
            (&denied, "::", ":: (which is ::1) is within --deny ::1/128"),
        ] {
            let found = reach.refusal(ip(address)).unwrap_or_default();
            assert_eq!(found, refusal, "{address}");
        }
        let zero = reach(&[], &["0.0.0.0/8"]).unwrap();
        assert!(zero.refusal(ip("0.0.0.0")).is_some());
    }

    #[test]
    fn rules_have_a_limit_and_errors_name_the_option() {
        let many = vec!["10.0.0.0/8"; RULES_MAX + 1];
        assert!(reach(&many[1..], &many[1..]).is_ok());
        for (allow, deny, expected) in [
            (
                &many[..],
                &[][..],
                "--allow: expected at most 64 networks, found 65",
            ),
            (&[], &many, "--deny: expected at most 64 networks, found 65"),
            (
                &[],
                &["::/0", "10.0.0.7/8"],
                "--deny 10.0.0.7/8: expected a network such as \"10.0.0.0/8\"; did you mean 10.0.0.0/8?",
            ),
            (
                &["x"],
                &[],
                "--allow x: expected a network such as \"10.0.0.0/8\"",
            ),
        ] {
            assert_eq!(reach(allow, deny), Err(expected.to_string()));
        }
    }
}
