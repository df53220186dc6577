//! The nouns of the product: names, ids, epochs, times, targets and samples.
//! Each quantity has its own type, so that a wall time is never added to a
//! monotonic one, and a name that exists is a valid name.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::script::Script;
use crate::units::{Family, HostPort};
pub use crate::units::{Mono, Wall, micros, millis};

/// Longest name of a target, agent or manager, in bytes.
pub const NAME_LEN_MAX: usize = 128;
/// Most tries beyond the first that a target may ask for.
pub const RETRIES_MAX: u32 = 10;
/// Most results that a rule about a target's state looks back on.
pub const RESULTS_MAX: u32 = 64;
/// Most addresses of one name that are probed each by itself: the first ones in their
/// order as numbers, IPv4 before IPv6.
pub const ADDRESSES_MAX: usize = 16;
/// Longest failure text kept in a record, in bytes.
pub const TEXT_LEN_MAX: usize = 300;

/// A valid name: `[A-Za-z0-9._-]{1,128}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as text that costs no more memory.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > NAME_LEN_MAX || !text.bytes().all(allowed) {
            return Err(format!(
                "expected a name of 1 to {NAME_LEN_MAX} letters, digits, '.', '_' or '-'"
            ));
        }
        Ok(Name(text.into()))
    }
}

/// Names made of texts: those of records are few, and come again and again. Equal ones
/// share their memory.
#[derive(Debug, Default)]
pub struct NamesSeen(HashSet<Name>);

/// Most names that are remembered.
const NAMES_SEEN_MAX: usize = 100_000;

impl NamesSeen {
    /// The name that a text is. Errors: see [`Name`].
    pub fn name(&mut self, text: &str) -> Result<Name, String> {
        if let Some(name) = self.0.get(text) {
            return Ok(name.clone());
        }
        let name: Name = text.parse()?;
        if self.0.len() < NAMES_SEEN_MAX {
            self.0.insert(name.clone());
        }
        Ok(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Declares 64 bits written as 16 lower-case hex digits.
macro_rules! hex64 {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                parse_hex(text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
    )*};
}

hex64! {
    /// A random identity: an agent, a manager, or one process's instance.
    Id;
    /// One run of an agent on its data directory.
    Epoch;
    /// What a configuration says: the first 64 bits of its SHA-256.
    ContentHash;
    /// Names a pre-shared key without telling it.
    KeyId;
}

fn parse_hex(text: &str) -> Result<u64, String> {
    let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match u64::from_str_radix(text, 16) {
        Ok(value) if digits => Ok(value),
        _ => Err("expected 16 hex digits".to_string()),
    }
}

/// A configuration's name: who made it, which of theirs it is, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The manager that owns the agent's configuration.
    pub owner: Id,
    pub owner_name: Name,
    /// Rises with each change by that owner.
    pub counter: u64,
    pub hash: ContentHash,
}

/// Something an agent probes: where, and on what terms, which it has as its own fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub name: Name,
    pub address: HostPort,
    /// Shared among targets that are probed alike.
    pub terms: Arc<Terms>,
}

/// How a target is probed: how often, for how long at most, and what it is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub interval: Duration,
    /// Covers name resolution, all addresses and all tries; never above `interval`.
    pub timeout: Duration,
    /// Tries beyond the first, within the same timeout.
    pub retries: u32,
    /// Which of its addresses are probed.
    pub family: Family,
    /// What the port is to do.
    pub want: Want,
    /// What is said and expected once it is open.
    pub script: Script,
    pub recheck: Recheck,
    /// Whether each address of its name is a [`Row`]; the agent makes such a target into
    /// several whose addresses are IP addresses.
    pub each_address: bool,
}

impl Terms {
    /// Whether a port answers, every `interval` and for `timeout` at most; nothing more.
    pub fn every(interval: Duration, timeout: Duration) -> Terms {
        Terms {
            interval,
            timeout,
            retries: 0,
            family: Family::default(),
            want: Want::default(),
            script: Script::default(),
            recheck: Recheck::default(),
            each_address: false,
        }
    }
}

impl Deref for Target {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.terms
    }
}

impl DerefMut for Target {
    fn deref_mut(&mut self) -> &mut Terms {
        Arc::make_mut(&mut self.terms)
    }
}

/// The terms that targets were lately given: most of a fleet's have few between them.
#[derive(Debug, Default)]
pub struct TermsSeen(VecDeque<Arc<Terms>>);

/// Terms that are looked through for equal ones.
const TERMS_SEEN_MAX: usize = 16;

impl TermsSeen {
    /// Has the target share its terms with those before it that have the same.
    pub fn share(&mut self, target: &mut Target) {
        match self.0.iter().find(|seen| **seen == target.terms) {
            Some(seen) => target.terms = Arc::clone(seen),
            None => {
                self.0.truncate(TERMS_SEEN_MAX - 1);
                self.0.push_front(Arc::clone(&target.terms));
            }
        }
    }
}

impl Target {
    /// A target on such terms.
    pub fn new(name: Name, address: HostPort, terms: Terms) -> Target {
        let terms = Arc::new(terms);
        Target {
            name,
            address,
            terms,
        }
    }

    /// The address of its name that this is, where each has a row of its own.
    pub fn each(&self) -> Option<IpAddr> {
        let literal = self.each_address.then(|| self.address.literal())?;
        literal.map(|addr| addr.ip())
    }

    /// What its results are of.
    pub fn row(&self) -> Row {
        Row {
            target: self.name.clone(),
            each: self.each(),
        }
    }
}

/// What is scheduled and has results and a state of its own: a target, or one address of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    pub target: Name,
    /// Of a target with `each_address`, once its addresses are known.
    pub each: Option<IpAddr>,
}

/// How a target is probed between its ticks while it is not decided whether it has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recheck {
    /// Time from a probe to the next one then; as long as the interval, or zero, means none.
    pub after: Duration,
    /// How many such probes follow a result that differs from the one before.
    pub times: u32,
}

/// What a port is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Want {
    /// Be open.
    #[default]
    Open,
    /// Refuse.
    Refused,
    /// Let no connection come about, in whatever way.
    Closed,
}

impl Want {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Want::Open => "open",
            Want::Refused => "refused",
            Want::Closed => "closed",
        }
    }
}

impl FromStr for Want {
    type Err = String;

    fn from_str(text: &str) -> Result<Want, String> {
        let all = [Want::Open, Want::Refused, Want::Closed];
        let found = all.into_iter().find(|want| want.as_str() == text);
        found.ok_or_else(|| "expected \"open\", \"refused\" or \"closed\"".to_string())
    }
}

/// How many failures make a target down: in a row, or among the latest results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownAfter {
    failures: u32,
    within: u32,
}

impl DownAfter {
    /// So many failures among that many results; in a row, where both are the same.
    /// Errors: what was expected, for people.
    pub fn new(failures: u32, within: u32) -> Result<DownAfter, String> {
        match (1..=RESULTS_MAX).contains(&failures) && (1..=RESULTS_MAX).contains(&within) {
            true if failures <= within => Ok(DownAfter { failures, within }),
            true => Err("expected no more failures than results to find them in".to_string()),
            false => Err(DownAfter::expected()),
        }
    }

    fn expected() -> String {
        format!(
            "expected a number of failures in a row from 1 to {RESULTS_MAX}, or a text such as \"3 within 5\""
        )
    }

    /// How many failures it takes.
    pub fn failures(self) -> u32 {
        self.failures
    }

    /// Among how many results.
    pub fn within(self) -> u32 {
        self.within
    }

    /// Whether an answer in between starts the count anew.
    pub fn in_a_row(self) -> bool {
        self.failures == self.within
    }
}

impl FromStr for DownAfter {
    type Err = String;

    fn from_str(text: &str) -> Result<DownAfter, String> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits);
            number.ok_or_else(DownAfter::expected)
        };
        match text.split_once(" within ") {
            Some((failures, within)) => DownAfter::new(number(failures)?, number(within)?),
            None => number(text).and_then(|n| DownAfter::new(n, n)),
        }
    }
}

impl fmt::Display for DownAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_a_row() {
            true => write!(f, "{}", self.failures),
            false => write!(f, "{} within {}", self.failures, self.within),
        }
    }
}

/// How many of the agents that can tell have to see a target down for it to be down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DownWhen {
    All,
    /// More than half.
    #[default]
    Majority,
    Any,
    AtLeast(u32),
}

/// How the results of a target become its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Longer than this is a slow answer; `None`: no answer is.
    pub slow: Option<Duration>,
    pub down_after: DownAfter,
    /// So many answers in a row end an outage; so many slow ones, or fast ones, make an
    /// answering target slow, or fast again.
    pub up_after: u32,
    /// Of its agents' states the target's.
    pub down_when: DownWhen,
}

impl Default for Rules {
    /// What holds where a fleet file says nothing.
    fn default() -> Rules {
        Rules {
            slow: None,
            down_after: DownAfter {
                failures: 3,
                within: 3,
            },
            up_after: 2,
            down_when: DownWhen::default(),
        }
    }
}

/// A target as the manager follows it: what an agent does, and what is made of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub target: Target,
    pub rules: Rules,
}

impl From<Target> for Watched {
    /// With the rules that hold where nothing else is said.
    fn from(target: Target) -> Watched {
        let rules = Rules::default();
        Watched { target, rules }
    }
}

/// Why a probe failed: the closed list that records carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    Refused,
    Timeout,
    Unreachable,
    Reset,
    Dns,
    Mismatch,
    Closed,
    /// The agent's own host could not make the attempt (no descriptors, no ports), or may not.
    Local,
}

impl Why {
    /// All there are, with their words.
    pub const ALL: [(Why, &'static str); 8] = [
        (Why::Refused, "refused"),
        (Why::Timeout, "timeout"),
        (Why::Unreachable, "unreachable"),
        (Why::Reset, "reset"),
        (Why::Dns, "dns"),
        (Why::Mismatch, "mismatch"),
        (Why::Closed, "closed"),
        (Why::Local, "local"),
    ];

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        Why::ALL[self as usize].1
    }

    /// The reason a record's word names, if it is a known one.
    pub fn from_word(word: &str) -> Option<Why> {
        Why::ALL
            .iter()
            .find(|(_, w)| *w == word)
            .map(|(why, _)| *why)
    }
}

/// Why a probe failed, with a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub why: Why,
    pub text: String,
}

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub target: Name,
    /// When the probe started.
    pub at: Wall,
    /// From start to verdict, in microseconds.
    pub us: u64,
    pub phases: Phases,
    /// `None` when the target answered as it is to.
    pub failure: Option<Failure>,
    /// Connection attempts made, over all addresses and retries.
    pub tries: u32,
    /// How late the probe started, in microseconds; recorded above 100 ms.
    pub late_us: u64,
    /// The address that gave the verdict, when the target was given by name.
    pub addr: Option<Box<SocketAddr>>,
    /// Whether the addresses were the last good ones, because resolution failed.
    pub dns_stale: bool,
    /// Connecting took a second or more above what is usual for the target: a SYN was
    /// lost and sent again.
    pub retransmit: bool,
    /// The address of the target that this is about, where each has a row of its own.
    pub each: Option<IpAddr>,
}

/// Where a probe's time went, in microseconds, as far as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// Resolving the name.
    pub dns: Option<u64>,
    /// The connection that came about.
    pub connect: Option<u64>,
    /// From there to the first byte.
    pub first_byte: Option<u64>,
    /// From there to the end of the script.
    pub matched: Option<u64>,
    /// The goodbye, after the verdict.
    pub close: Option<u64>,
}

impl Sample {
    /// Whether the target answered.
    pub fn ok(&self) -> bool {
        self.failure.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "web-1", "db.example_7", &"x".repeat(128)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "é", "a/b", "\u{1b}[31m", &"x".repeat(129)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_are_sixteen_hex_digits() {
        assert_eq!("00000000000000ff".parse::<Id>(), Ok(Id(255)));
        assert_eq!(Epoch(255).to_string(), "00000000000000ff");
        for bad in [
            "",
            "ff",
            "+0000000000000ff",
            "00000000000000FF",
            "00000000000000fg",
        ] {
            assert!(bad.parse::<Epoch>().is_err(), "{bad}");
        }
    }

    #[test]
    fn down_after_is_a_number_or_a_number_within_another() {
        for (text, failures, within, written) in [
            ("1", 1, 1, "1"),
            ("64", 64, 64, "64"),
            ("3 within 5", 3, 5, "3 within 5"),
            ("1 within 64", 1, 64, "1 within 64"),
            ("3 within 3", 3, 3, "3"),
        ] {
            let got: DownAfter = text.parse().unwrap();
            assert_eq!((got.failures(), got.within()), (failures, within));
            assert_eq!(got.in_a_row(), failures == within);
            assert_eq!(got.to_string(), written);
        }
        for bad in [
            "",
            "0",
            "65",
            "+3",
            "three",
            "0 within 5",
            "3 within 65",
            "3 within",
            "3  within 5",
            "3 of 5",
            "4294967297",
            "3 within 5 within 7",
        ] {
            let got = bad.parse::<DownAfter>().unwrap_err();
            assert_eq!(got, DownAfter::expected(), "{bad}");
        }
        let got = "5 within 3".parse::<DownAfter>().unwrap_err();
        assert!(got.starts_with("expected no more failures"), "{got}");
    }

    #[test]
    fn reasons_and_words_agree() {
        for (why, word) in Why::ALL {
            assert_eq!(why.as_str(), word);
            assert_eq!(Why::from_word(word), Some(why));
        }
        assert_eq!(Why::from_word("tired"), None);
    }
}
