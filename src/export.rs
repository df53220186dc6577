//! Exports: who gets results as they are stored, and the lines they get (InfluxDB's line
//! protocol, Graphite's plaintext protocol).
//!
//! Always: a line carries the time at which the probe began, by the record's own stamp, so
//! that a line which is sent twice says the same twice.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::{Name, Sample, Wall};
use crate::quiet::Pattern;
use crate::record::{Body, Record, phase_keys};
use crate::units::{HostPort, HttpUrl};

/// What paths begin with at a Graphite receiver, where nothing is said.
pub const PREFIX_DEFAULT: &str = "tcpmon";
const PREFIX_LEN_MAX: usize = 128;
/// What lines are of, at an Influx receiver.
const MEASUREMENT: &str = "tcpmon";

/// One export of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRule {
    pub name: Name,
    pub receiver: Receiver,
    /// Whose results go out.
    pub targets: Vec<Pattern>,
    /// How old results may be that a new export begins with; `None`: it begins now.
    pub since: Option<Duration>,
    /// How long one delivery may take.
    pub timeout: Duration,
}

/// Where results go, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// Posted as line protocol, times in nanoseconds.
    Influx {
        url: HttpUrl,
        /// With the token for `Authorization: Token …`, as written.
        token_file: Option<String>,
    },
    /// Sent as plaintext, times in seconds.
    Graphite { address: HostPort, prefix: String },
}

impl ExportRule {
    /// Where it goes, for people; not the path, which may be a secret.
    pub fn destination(&self) -> String {
        match &self.receiver {
            Receiver::Influx { url, .. } => url.origin(),
            Receiver::Graphite { address, .. } => format!("graphite {address}"),
        }
    }

    /// Whether results of this target go out.
    pub fn takes(&self, target: &Name) -> bool {
        self.targets
            .iter()
            .any(|pattern| pattern.matches(target.as_str()))
    }

    /// Appends the lines for what a record tells of; how many results that was. `group` is
    /// that of a target in the fleet.
    pub fn write(
        &self,
        out: &mut String,
        agent: &Name,
        record: &Record,
        group: impl Fn(&Name) -> Option<Name>,
    ) -> u64 {
        match &record.body {
            Body::Result(sample) if self.takes(&sample.target) => {
                let group = group(&sample.target);
                self.write_sample(out, agent, group.as_ref(), sample);
                1
            }
            Body::Summary { of, .. } => {
                let mut count = 0;
                for sums in of.iter().filter(|sums| self.takes(&sums.target)) {
                    let group = group(&sums.target);
                    for (at, us) in sums.results() {
                        let point = Point {
                            agent,
                            group: group.as_ref(),
                            target: &sums.target,
                            each: sums.each,
                            at,
                        };
                        self.write_point(out, &point, us, None);
                        count += 1;
                    }
                }
                count
            }
            _ => 0,
        }
    }

    fn write_sample(&self, out: &mut String, agent: &Name, group: Option<&Name>, sample: &Sample) {
        let point = Point {
            agent,
            group,
            target: &sample.target,
            each: sample.each,
            at: sample.at,
        };
        self.write_point(out, &point, sample.us, Some(sample));
    }

    /// One result; without a sample it was answered and no more is known.
    fn write_point(&self, out: &mut String, point: &Point<'_>, us: u64, sample: Option<&Sample>) {
        match &self.receiver {
            Receiver::Influx { .. } => point.influx(out, us, sample),
            Receiver::Graphite { prefix, .. } => point.graphite(out, prefix, us, sample),
        }
    }
}

/// Whose result it is, and of when.
struct Point<'a> {
    agent: &'a Name,
    group: Option<&'a Name>,
    target: &'a Name,
    each: Option<IpAddr>,
    at: Wall,
}

impl Point<'_> {
    /// Names need no escaping: they have no comma, space, equals sign or backslash.
    fn influx(&self, out: &mut String, us: u64, sample: Option<&Sample>) {
        let _ = write!(
            out,
            "{MEASUREMENT},agent={},target={}",
            self.agent, self.target
        );
        if let Some(group) = self.group {
            let _ = write!(out, ",group={group}");
        }
        if let Some(each) = self.each {
            let _ = write!(out, ",address={each}");
        }
        let failure = sample.and_then(|sample| sample.failure.as_ref());
        let up = u8::from(failure.is_none());
        let _ = write!(out, " up={up}i,us={us}i");
        for (name, us) in sample.iter().flat_map(|sample| parts(sample)) {
            let _ = write!(out, ",{name}={us}i");
        }
        if let Some(failure) = failure {
            let _ = write!(out, ",why=\"{}\"", failure.why.as_str());
        }
        let _ = writeln!(out, " {}000000", self.at.0);
    }

    fn graphite(&self, out: &mut String, prefix: &str, us: u64, sample: Option<&Sample>) {
        let node = |text: &str| text.replace(['.', ':'], "_");
        let mut path = format!(
            "{prefix}.{}.{}",
            node(self.agent.as_str()),
            node(self.target.as_str())
        );
        if let Some(each) = self.each {
            path.push('.');
            path.push_str(&node(&each.to_string()));
        }
        let s = self.at.0 / 1000;
        let failed = sample.is_some_and(|sample| sample.failure.is_some());
        let _ = writeln!(out, "{path}.up {} {s}", u8::from(!failed));
        let _ = writeln!(out, "{path}.us {us} {s}");
        for (name, us) in sample.iter().flat_map(|sample| parts(sample)) {
            let _ = writeln!(out, "{path}.{name} {us} {s}");
        }
    }
}

/// Where the time went.
fn parts(sample: &Sample) -> impl Iterator<Item = (&'static str, u64)> {
    let parts = phase_keys(&sample.phases).into_iter();
    parts.filter_map(|(name, us)| Some((name, us?)))
}

/// What paths begin with: names joined by dots. Errors: what was expected.
pub fn check_prefix(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let fits = text.len() <= PREFIX_LEN_MAX;
    let whole = |part: &str| !part.is_empty() && part.bytes().all(allowed);
    match fits && text.split('.').all(whole) {
        true => Ok(text.to_string()),
        false => Err("expected names joined by dots such as \"site.tcpmon\"".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    fn rule(receiver: Receiver) -> ExportRule {
        ExportRule {
            name: "x".parse().unwrap(),
            receiver,
            targets: vec!["w*".parse().unwrap()],
            since: None,
            timeout: Duration::from_secs(1),
        }
    }

    fn lines(receiver: Receiver, record: &str) -> (String, u64) {
        let mut out = String::new();
        let agent = "attic.1".parse().unwrap();
        let record = Record::parse(record.as_bytes()).unwrap();
        let group = |name: &Name| (name.as_str() == "web").then(|| "shop".parse().unwrap());
        let count = rule(receiver).write(&mut out, &agent, &record, group);
        (out, count)
    }

    fn sealed(fields: &str) -> String {
        let mut line = fields.to_string();
        crate::record::seal(&mut line, 0);
        line.trim_end().to_string()
    }

    #[test]
    fn results_become_lines_of_both_forms() {
        let influx = || Receiver::Influx {
            url: "http://h/write".parse().unwrap(),
            token_file: None,
        };
        let graphite = || Receiver::Graphite {
            address: "h:2003".parse().unwrap(),
            prefix: "site.tcpmon".into(),
        };
        for (record, in_influx, in_graphite) in [
            (
                r#"{"seq":7,"at":1763820000123,"target":"web","ok":true,"us":12345,"connect_us":12000}"#,
                "tcpmon,agent=attic.1,target=web,group=shop up=1i,us=12345i,connect_us=12000i 1763820000123000000\n",
                "site.tcpmon.attic_1.web.up 1 1763820000\nsite.tcpmon.attic_1.web.us 12345 1763820000\nsite.tcpmon.attic_1.web.connect_us 12000 1763820000\n",
            ),
            (
                r#"{"seq":8,"at":1763820003456,"target":"w.2","each":"192.0.2.7","ok":false,"us":3000121,"why":"timeout","text":"x y=\"z\""}"#,
                "tcpmon,agent=attic.1,target=w.2,address=192.0.2.7 up=0i,us=3000121i,why=\"timeout\" 1763820003456000000\n",
                "site.tcpmon.attic_1.w_2.192_0_2_7.up 0 1763820003\nsite.tcpmon.attic_1.w_2.192_0_2_7.us 3000121 1763820003\n",
            ),
            (r#"{"seq":9,"at":1,"target":"db","ok":true,"us":1}"#, "", ""),
            (r#"{"seq":9,"at":1,"event":"ended","target":"web"}"#, "", ""),
        ] {
            let count = u64::from(!in_influx.is_empty());
            let record = sealed(record);
            assert_eq!(lines(influx(), &record), (in_influx.to_string(), count));
            assert_eq!(lines(graphite(), &record), (in_graphite.to_string(), count));
        }
    }

    #[test]
    fn a_prefix_is_names_joined_by_dots() {
        for text in ["tcpmon", "a.b-c.d_1"] {
            assert_eq!(check_prefix(text), Ok(text.to_string()));
        }
        for text in ["", ".", "a.", "a..b", "a b", "a/b", &"x".repeat(200)] {
            assert!(check_prefix(text).is_err(), "{text}");
        }
    }
}
