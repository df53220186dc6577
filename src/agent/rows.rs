//! The rows of targets of which each address is probed: which addresses their names have, and
//! when those are looked up again. Time is an argument and the lookups are the caller's.
//!
//! While no address is known, a target is one row, by its name: so its results tell why.
//! What a lookup gives takes its place; addresses that the next one no longer gives end. One
//! that fails changes nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::log;
use crate::model::{ADDRESSES_MAX, Mono, Name, Row, Target};
use crate::net::resolve::Resolved;
use crate::units::{Host, HostPort, Reach};

/// A name is looked up every interval of its target, but no more often than this.
pub const LOOK_UP_EVERY_MIN: Duration = Duration::from_secs(30);
/// And no less often than this.
pub const LOOK_UP_EVERY_MAX: Duration = Duration::from_secs(300);

/// The targets that have rows, and the rows.
#[derive(Default)]
pub struct Rows {
    names: HashMap<Name, Known>,
}

struct Known {
    /// As configured.
    target: Target,
    /// Sorted and distinct.
    addrs: Vec<IpAddr>,
    /// The last lookup failed.
    stale: bool,
    look_up_at: Mono,
    /// That some are left out was told.
    told: bool,
}

/// A name to look up, for this target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub target: Name,
    pub address: HostPort,
}

/// What takes the place of what.
#[derive(Debug, PartialEq, Eq)]
pub struct Exchange {
    pub before: Vec<Row>,
    pub rows: Vec<Target>,
}

impl Rows {
    /// Takes the whole list of targets; what is to be probed of them now. Names that were
    /// known stay so. Of an IP address there is nothing to look up: it is no row.
    pub fn replace(&mut self, mut targets: Vec<Target>, now: Mono) -> Vec<Target> {
        let mut before = std::mem::take(&mut self.names);
        if !targets.iter().any(|target| target.each_address) {
            return targets;
        }
        let mut rows = Vec::with_capacity(targets.len());
        for mut target in targets.drain(..) {
            target.each_address &= target.address.literal().is_none();
            if !target.each_address {
                rows.push(target);
                continue;
            }
            let mut known = match before.remove(&target.name) {
                Some(known) if known.target.address.host == target.address.host => known,
                _ => Known::new(target.clone(), now),
            };
            if known.target.family != target.family {
                known.look_up_at = now;
                known.addrs.retain(|ip| target.family.has(*ip));
            }
            known.target = target;
            rows.extend(known.rows());
            self.names.insert(known.target.name.clone(), known);
        }
        rows
    }

    /// When the next name is to be looked up; `None` without any.
    pub fn next_at(&self) -> Option<Mono> {
        self.names.values().map(|known| known.look_up_at).min()
    }

    /// What is to be looked up now.
    pub fn due(&self, now: Mono) -> Vec<Query> {
        let due = self.names.values().filter(|known| known.look_up_at <= now);
        due.map(|known| Query {
            target: known.target.name.clone(),
            address: known.target.address.clone(),
        })
        .collect()
    }

    /// A target that is probed by its name was resolved: it is time to look. Whether it is
    /// such a one.
    pub fn hurry(&mut self, target: &Name, now: Mono) -> bool {
        let known = self.names.get_mut(target);
        let Some(known) = known.filter(|known| known.addrs.is_empty()) else {
            return false;
        };
        known.look_up_at = now;
        true
    }

    /// Whether a target's rows are the last good addresses, because the last lookup failed.
    pub fn is_stale(&self, target: &Name) -> bool {
        self.names.get(target).is_some_and(|known| known.stale)
    }

    /// Takes what a lookup came to (`None`: nothing); what changes with it. Addresses outside
    /// `reach` are left out.
    pub fn found(
        &mut self,
        query: &Query,
        found: Option<&Resolved>,
        reach: &Reach,
        now: Mono,
    ) -> Option<Exchange> {
        // Another configuration may have come meanwhile.
        let known = self.names.get_mut(&query.target);
        let known = known.filter(|known| known.target.address == query.address)?;
        let every = known.target.interval;
        known.look_up_at = now.after(every.clamp(LOOK_UP_EVERY_MIN, LOOK_UP_EVERY_MAX));
        known.stale = found.is_none_or(|found| found.stale);
        let found = found.filter(|found| known.addrs.is_empty() || !found.stale)?;
        let addrs = known.chosen(found, reach);
        if addrs == known.addrs {
            return None;
        }
        let before = known.rows().iter().map(Target::row).collect();
        known.addrs = addrs;
        let rows = known.rows();
        Some(Exchange { before, rows })
    }
}

impl Known {
    fn new(target: Target, now: Mono) -> Known {
        Known {
            target,
            addrs: Vec::new(),
            stale: false,
            look_up_at: now,
            told: false,
        }
    }

    /// The addresses to probe of those that were found; that others are left out is told once.
    fn chosen(&mut self, found: &Resolved, reach: &Reach) -> Vec<IpAddr> {
        let addrs = found.addrs.iter().map(|addr| addr.ip());
        let mut addrs: Vec<IpAddr> = addrs.filter(|ip| self.target.family.has(*ip)).collect();
        addrs.sort_unstable();
        addrs.dedup();
        let refusals = addrs.iter().filter_map(|ip| reach.refusal(*ip));
        let mut left_out: Vec<String> = refusals.collect();
        addrs.retain(|ip| reach.refusal(*ip).is_none());
        if let Some(more) = addrs.len().checked_sub(ADDRESSES_MAX).filter(|n| *n > 0) {
            left_out.push(format!("{more} beyond the first {ADDRESSES_MAX}"));
        }
        if !left_out.is_empty() && !std::mem::replace(&mut self.told, true) {
            let (name, host, left_out) = (
                &self.target.name,
                &self.target.address.host,
                left_out.join(", "),
            );
            log::line(format_args!(
                "target {name}: addresses of {host} left out: {left_out}"
            ));
        }
        addrs.truncate(ADDRESSES_MAX);
        addrs
    }

    /// What is probed: a target for each address, or the target itself while there is none.
    fn rows(&self) -> Vec<Target> {
        if self.addrs.is_empty() {
            return vec![self.target.clone()];
        }
        let port = self.target.address.port;
        let row = |ip: &IpAddr| Target {
            address: HostPort {
                host: Host::Ip(*ip),
                port,
            },
            ..self.target.clone()
        };
        self.addrs.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Terms;
    use crate::units::Family;

    const S: u64 = 1_000_000;

    fn target(name: &str, address: &str, interval_s: u64) -> Target {
        Target::new(
            name.parse().unwrap(),
            address.parse().unwrap(),
            Terms {
                each_address: true,
                ..Terms::every(Duration::from_secs(interval_s), Duration::from_secs(1))
            },
        )
    }

    fn query(target: &Target) -> Query {
        Query {
            target: target.name.clone(),
            address: target.address.clone(),
        }
    }

    fn resolved(addrs: &[&str], stale: bool) -> Resolved {
        let addrs = addrs.iter().map(|ip| (ip.parse::<IpAddr>().unwrap(), 443));
        Resolved {
            addrs: addrs.map(Into::into).collect(),
            stale,
        }
    }

    /// Name, address and whether it is a row, of each.
    fn shown(targets: &[Target]) -> Vec<String> {
        let each = |t: &Target| t.each().map_or("by name".to_string(), |ip| ip.to_string());
        let shown = |t: &Target| format!("{} {} {}", t.name, t.address, each(t));
        targets.iter().map(shown).collect()
    }

    /// The rows after a lookup in place of those before; empty when nothing changes.
    fn after(rows: &mut Rows, query: &Query, found: Option<&Resolved>) -> Vec<String> {
        let exchange = rows.found(query, found, &Reach::default(), Mono(0));
        exchange.map_or(Vec::new(), |exchange| shown(&exchange.rows))
    }

    #[test]
    fn rows_follow_what_lookups_find() {
        let web = target("web", "www.example:443", 10);
        let mut rows = Rows::default();
        let first = rows.replace(vec![web.clone()], Mono(0));
        assert_eq!(shown(&first), ["web www.example:443 by name"]);
        let (a, b) = ("web 10.0.0.1:443 10.0.0.1", "web 10.0.0.2:443 10.0.0.2");
        let by_name = "web www.example:443 by name";
        let query = query(&web);
        for (found, expected, stale) in [
            (None, vec![], true),
            (
                Some(resolved(&["10.0.0.2", "10.0.0.1", "10.0.0.2"], false)),
                vec![a, b],
                false,
            ),
            (
                Some(resolved(&["10.0.0.1", "10.0.0.2"], false)),
                vec![],
                false,
            ),
            (Some(resolved(&["10.0.0.2"], true)), vec![], true),
            (None, vec![], true),
            (Some(resolved(&["10.0.0.2"], false)), vec![b], false),
            (Some(resolved(&[], false)), vec![by_name], false),
            // Better old addresses than none.
            (Some(resolved(&["10.0.0.1"], true)), vec![a], true),
        ] {
            assert_eq!(
                after(&mut rows, &query, found.as_ref()),
                expected,
                "{found:?}"
            );
            assert_eq!(rows.is_stale(&web.name), stale, "{found:?}");
        }
    }

    #[test]
    fn what_takes_the_place_of_what_is_told() {
        let web = target("web", "www.example:443", 10);
        let mut rows = Rows::default();
        rows.replace(vec![web.clone()], Mono(0));
        let mut found = |addrs: &[&str]| {
            let found = resolved(addrs, false);
            rows.found(&query(&web), Some(&found), &Reach::default(), Mono(0))
                .unwrap()
                .before
        };
        let row = |each: Option<&str>| Row {
            target: web.name.clone(),
            each: each.map(|ip| ip.parse().unwrap()),
        };
        assert_eq!(found(&["10.0.0.1", "::1"]), [row(None)]);
        assert_eq!(found(&["::1"]), [row(Some("10.0.0.1")), row(Some("::1"))]);
    }

    #[test]
    fn only_the_family_and_no_more_than_the_limit() {
        let mut web = target("web", "www.example:443", 10);
        web.family = Family::V6;
        let mut rows = Rows::default();
        rows.replace(vec![web.clone()], Mono(0));
        let both = resolved(&["10.0.0.1", "2001:db8::1"], false);
        let six = "web [2001:db8::1]:443 2001:db8::1";
        assert_eq!(after(&mut rows, &query(&web), Some(&both)), [six]);
        web.family = Family::V4;
        let changed = rows.replace(vec![web.clone()], Mono(5));
        assert_eq!(shown(&changed), ["web www.example:443 by name"]);
        assert_eq!(rows.next_at(), Some(Mono(5)));
        let many: Vec<String> = (1..=20).rev().map(|n| format!("10.0.0.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let shown = after(&mut rows, &query(&web), Some(&resolved(&many, false)));
        assert_eq!(shown.len(), ADDRESSES_MAX);
        assert_eq!(shown[15], "web 10.0.0.16:443 10.0.0.16");
    }

    #[test]
    fn what_is_denied_is_left_out_and_the_name_is_probed_when_nothing_is_left() {
        let web = target("web", "www.example:443", 10);
        let both = resolved(&["10.0.0.1", "192.0.2.1"], false);
        let one = "web 192.0.2.1:443 192.0.2.1";
        for (deny, expected) in [("10.0.0.0/8", vec![one]), ("0.0.0.0/0", vec![])] {
            let reach = Reach::parse([].into_iter(), [deny].into_iter()).unwrap();
            let mut rows = Rows::default();
            rows.replace(vec![web.clone()], Mono(0));
            let exchange = rows.found(&query(&web), Some(&both), &reach, Mono(0));
            let shown = exchange.map_or(Vec::new(), |exchange| shown(&exchange.rows));
            assert_eq!(shown, expected, "{deny}");
        }
    }

    #[test]
    fn names_are_looked_up_every_interval_within_bounds_and_sooner_when_there_is_cause() {
        for (interval_s, every) in [(1, 30), (60, 60), (3600, 300)] {
            let web = target("web", "www.example:443", interval_s);
            let mut rows = Rows::default();
            assert_eq!(rows.next_at(), None);
            rows.replace(vec![web.clone()], Mono(7));
            assert_eq!(rows.due(Mono(7)), [query(&web)]);
            rows.found(&query(&web), None, &Reach::default(), Mono(S));
            assert_eq!(rows.next_at(), Some(Mono(S + every * S)), "{interval_s}");
            assert_eq!(rows.due(Mono(every * S)), []);
            assert!(rows.hurry(&web.name, Mono(2 * S)));
            assert_eq!(rows.due(Mono(2 * S)), [query(&web)]);
            let found = resolved(&["::1"], false);
            rows.found(&query(&web), Some(&found), &Reach::default(), Mono(2 * S));
            assert!(!rows.hurry(&web.name, Mono(3 * S)));
            assert_eq!(rows.next_at(), Some(Mono((2 + every) * S)));
        }
    }

    #[test]
    fn a_new_list_keeps_what_is_known_of_the_names_that_stay() {
        let web = target("web", "www.example:443", 10);
        let literal = target("literal", "10.0.0.9:443", 10);
        let mut plain = target("plain", "h:1", 10);
        plain.each_address = false;
        let mut rows = Rows::default();
        rows.replace(vec![web.clone()], Mono(0));
        let found = resolved(&["10.0.0.1"], false);
        rows.found(&query(&web), Some(&found), &Reach::default(), Mono(0));
        let on = |address: &str, interval_s| target("web", address, interval_s);
        let mut off = web.clone();
        off.each_address = false;
        for (list, expected) in [
            (
                vec![on("www.example:444", 20), literal, plain.clone()],
                vec![
                    "web 10.0.0.1:444 10.0.0.1",
                    "literal 10.0.0.9:443 by name",
                    "plain h:1 by name",
                ],
            ),
            (
                vec![plain, off],
                vec!["plain h:1 by name", "web www.example:443 by name"],
            ),
            (vec![web.clone()], vec!["web www.example:443 by name"]),
        ] {
            let got = rows.replace(list, Mono(1));
            assert_eq!(shown(&got), expected);
        }
        // What was found for a name that a target no longer has is nothing to it.
        rows.replace(vec![on("other.example:443", 10)], Mono(2));
        assert_eq!(
            rows.found(&query(&web), Some(&found), &Reach::default(), Mono(2)),
            None
        );
        assert_eq!(rows.next_at(), Some(Mono(2)));
    }
}
