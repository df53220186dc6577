//! A report as a text for people, as JSON and as comma-separated values.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Numbers, Report, TargetReport};
use crate::json::{self, Object};
use crate::manager::columns::table;
use crate::model::Name;
use crate::stats::Measured;
use crate::units::{count_text, duration_text, latency_text, timestamp};

const CSV_TITLES: &str = "target,agent,probes,ok,uptime,observed,p50_us,p95_us,p99_us,max_us,\
    outages,longest_outage_ms,mttr_ms,group,tags\r\n";

impl Report {
    /// The report as one JSON document, a newline at its end.
    pub fn json(&self) -> String {
        let mut out = String::new();
        json::object(&mut out, |o| {
            o.u64("since", self.since.0).u64("until", self.until.0);
            o.array("targets", |a| {
                for target in &self.targets {
                    a.object(|o| write_target(o, target));
                }
            });
            write_list(o, "groups", &self.groups);
            write_list(o, "tags", &self.tags);
        });
        out + "\n"
    }

    /// The report as comma-separated values (RFC 4180), a line of titles first. An empty
    /// agent stands for all of them together, an empty target for all targets of the
    /// line's group or tag, an empty value for what is not known.
    pub fn csv(&self) -> String {
        let mut out = CSV_TITLES.to_string();
        for target in &self.targets {
            let group = target.group.as_ref().map_or("", Name::as_str);
            let tags: Vec<&str> = target.tags.iter().map(Name::as_str).collect();
            let last = [group, &tags.join(" ")];
            push_csv(&mut out, [target.name.as_str(), ""], &target.all, last);
            for (agent, each, numbers) in &target.agents {
                let agent = match each {
                    Some(ip) => format!("{agent} at {ip}"),
                    None => agent.to_string(),
                };
                push_csv(&mut out, [target.name.as_str(), &agent], numbers, last);
            }
        }
        for (group, numbers) in &self.groups {
            push_csv(&mut out, ["", ""], numbers, [group.as_str(), ""]);
        }
        for (tag, numbers) in &self.tags {
            push_csv(&mut out, ["", ""], numbers, ["", tag.as_str()]);
        }
        out
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let window = self.until.since(self.since);
        let until = timestamp(self.until);
        let (day, time) = (&until[..10], &until[11..19]);
        let mut out = format!("Last {} until {day} {time} UTC\n\n", duration_text(window));
        if self.targets.is_empty() {
            return out + "The fleet has no targets.\n";
        }
        let targets = self.targets.iter().map(|t| row(&t.name, &t.all));
        out += &table_of("TARGET", targets.collect());
        for (title, sums) in [("GROUP", &self.groups), ("TAG", &self.tags)] {
            if !sums.is_empty() {
                let rows = sums.iter().map(|(name, numbers)| row(name, numbers));
                out.push('\n');
                out += &table_of(title, rows.collect());
            }
        }
        out
    }
}

fn write_target(o: &mut Object<'_>, target: &TargetReport) {
    write_numbers(o, &target.name, &target.all);
    if let Some(group) = &target.group {
        o.str("group", group.as_str());
    }
    if !target.tags.is_empty() {
        o.array("tags", |a| {
            for tag in &target.tags {
                a.str(tag.as_str());
            }
        });
    }
    o.array("agents", |a| {
        for (agent, each, numbers) in &target.agents {
            a.object(|o| {
                write_numbers(o, agent, numbers);
                if let Some(ip) = each {
                    let address = target.port.map(|port| SocketAddr::new(*ip, port));
                    let address = address.map_or(ip.to_string(), |address| address.to_string());
                    o.str("address", &address);
                }
            });
        }
    });
}

fn write_list(o: &mut Object<'_>, key: &str, list: &[(Name, Numbers)]) {
    o.array(key, |a| {
        for (name, numbers) in list {
            a.object(|o| write_numbers(o, name, numbers));
        }
    });
}

fn write_numbers(o: &mut Object<'_>, name: &Name, numbers: &Numbers) {
    let rounded = |part: Option<f64>| part.map_or(f64::NAN, |x| (x * 1e6).round() / 1e6);
    let Measured { probes, ok, .. } = numbers.measured;
    o.str("name", name.as_str())
        .u64("probes", probes)
        .u64("ok", ok)
        .f64("uptime", rounded(numbers.measured.uptime()))
        .f64("observed", rounded(numbers.measured.observed()));
    let mut known = |key: &str, value: Option<u64>| {
        match value {
            Some(value) => o.u64(key, value),
            None => o.null(key),
        };
    };
    for (key, us) in ["p50_us", "p95_us", "p99_us", "max_us"]
        .into_iter()
        .zip(numbers.quantiles())
    {
        known(key, us);
    }
    known("outages", Some(numbers.outages.count));
    known("longest_outage_ms", numbers.outages.longest_ms());
    known("mttr_ms", numbers.outages.mttr_ms());
}

/// Names hold nothing that would have to be quoted.
fn push_csv(out: &mut String, first: [&str; 2], numbers: &Numbers, last: [&str; 2]) {
    let Measured { probes, ok, .. } = numbers.measured;
    out.push_str(&format!("{},{},{probes},{ok}", first[0], first[1]));
    for part in [numbers.measured.uptime(), numbers.measured.observed()] {
        let part = part.map(|x| format!("{:.6}", x));
        out.push_str(&format!(",{}", part.unwrap_or_default()));
    }
    let outages = &numbers.outages;
    let lengths = [outages.longest_ms(), outages.mttr_ms()];
    let numbers = numbers.quantiles().into_iter();
    for number in numbers.chain([Some(outages.count)]).chain(lengths) {
        let number = number.map(|n| n.to_string());
        out.push_str(&format!(",{}", number.unwrap_or_default()));
    }
    out.push_str(&format!(",{},{}\r\n", last[0], last[1]));
}

impl Numbers {
    /// The 50th, 95th and 99th percentile and the largest latency.
    fn quantiles(&self) -> [Option<u64>; 4] {
        let l = &self.latencies;
        [
            l.quantile(0.50),
            l.quantile(0.95),
            l.quantile(0.99),
            l.max(),
        ]
    }
}

fn table_of(first: &str, rows: Vec<[String; 11]>) -> String {
    let titles = [
        first, "PROBES", "UPTIME", "OBSERVED", "OUTAGES", "LONGEST", "MTTR", "P50", "P95", "P99",
        "MAX",
    ];
    table(0, 1, titles, &rows)
}

fn row(name: &Name, numbers: &Numbers) -> [String; 11] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_string());
    let [p50, p95, p99, max] = numbers.quantiles().map(|us| or_dash(us.map(latency_text)));
    let length = |ms: Option<u64>| or_dash(ms.map(length_text));
    [
        name.to_string(),
        count_text(numbers.measured.probes),
        percent(numbers.measured.uptime()),
        percent(numbers.measured.observed()),
        count_text(numbers.outages.count),
        length(numbers.outages.longest_ms()),
        length(numbers.outages.mttr_ms()),
        p50,
        p95,
        p99,
        max,
    ]
}

/// A length of time in its two largest units or so: what is smaller is cut off.
fn length_text(ms: u64) -> String {
    const SECOND: u64 = 1_000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let unit = match ms {
        0..SECOND => 1,
        SECOND..HOUR => SECOND,
        HOUR..DAY => MINUTE,
        _ => HOUR,
    };
    duration_text(Duration::from_millis(ms / unit * unit))
}

/// A fraction in percent, cut, not rounded: only what was always up is up 100.00 %.
fn percent(part: Option<f64>) -> String {
    let Some(part) = part else {
        return "-".to_string();
    };
    // A float a hair below a whole hundredth is that hundredth.
    let hundredths = (part * 10_000.0 + 1e-7).floor() as u64;
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::super::Outages;
    use super::*;

    #[test]
    fn only_what_was_always_up_is_wholly_up() {
        for (part, text) in [
            (None, "-"),
            (Some(1.0), "100.00 %"),
            (Some(0.999_999), "99.99 %"),
            (Some(0.9995), "99.95 %"),
            (Some(0.07), "7.00 %"),
            (Some(0.0), "0.00 %"),
        ] {
            assert_eq!(percent(part), text);
        }
    }

    #[test]
    fn lengths_are_short() {
        for (ms, text) in [
            (0, "0s"),
            (850, "850ms"),
            (42_999, "42s"),
            (3_599_000, "59m59s"),
            (3_600_000 + 59_000, "1h"),
            (86_399_999, "23h59m"),
            (31 * 86_400_000 + 3_700_000, "31d1h"),
        ] {
            assert_eq!(length_text(ms), text);
        }
    }
    #[test]
    fn a_table_of_ordinary_names_fits_a_hundred_columns() {
        let mut numbers = Numbers {
            measured: Measured {
                probes: 604_800,
                ok: 604_800,
                up_ms: 1,
                measured_ms: 1,
                asked_ms: 1,
            },
            outages: Outages {
                count: 1_000,
                longest_ms: 86_399_000,
                ended: 1,
                ended_ms: 86_399_000,
            },
            ..Numbers::default()
        };
        numbers.latencies.add(123_456);
        let name = "printer-basement".parse().unwrap();
        let text = table_of("TARGET", vec![row(&name, &numbers)]);
        let widest = text.lines().map(str::len).max();
        assert!(widest <= Some(100), "{widest:?}\n{text}");
    }
}
