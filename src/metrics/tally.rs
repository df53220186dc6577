//! What the results of one row came to since counting began, and how rows are told.

use super::{Exposition, Kind, seconds, with};
use crate::model::{Sample, Why};
use crate::record::SkipWhy;

/// Upper bounds of the buckets, in microseconds: from a host beside this one to the longest
/// timeouts in use, two or three to each power of ten.
const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Parts of a probe, as the label `phase` has them.
const PHASES: [&str; 5] = ["resolve", "connect", "first_byte", "match", "close"];

/// Counts of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers by the first bound that they do not exceed; the last has none.
    answers: [u64; BOUNDS_US.len() + 1],
    answers_us: u64,
    failures: [u64; Why::ALL.len()],
    /// How many had the part, and what it came to in microseconds.
    phases: [(u64, u64); PHASES.len()],
    late_us: u64,
    retransmits: u64,
    skipped: [u64; SkipWhy::ALL.len()],
    last_ms: u64,
}

impl Tally {
    /// Counts one result.
    pub fn add(&mut self, sample: &Sample) {
        match &sample.failure {
            Some(failure) => self.failures[failure.why as usize] += 1,
            None => {
                let bucket = BOUNDS_US.partition_point(|bound| *bound < sample.us);
                self.answers[bucket] += 1;
                self.answers_us = self.answers_us.saturating_add(sample.us);
            }
        }
        let phases = &sample.phases;
        let parts = [
            phases.dns,
            phases.connect,
            phases.first_byte,
            phases.matched,
            phases.close,
        ];
        for ((count, sum), us) in self.phases.iter_mut().zip(parts) {
            if let Some(us) = us {
                *count += 1;
                *sum = sum.saturating_add(us);
            }
        }
        self.late_us = self.late_us.saturating_add(sample.late_us);
        self.retransmits += u64::from(sample.retransmit);
        self.last_ms = self.last_ms.max(sample.at.0);
    }

    /// Counts ticks that passed without a probe.
    pub fn skip(&mut self, count: u64, why: SkipWhy) {
        self.skipped[why as usize] += count;
    }

    fn answered(&self) -> u64 {
        self.answers.iter().sum()
    }

    fn probes(&self) -> u64 {
        self.answered() + self.failures.iter().sum::<u64>()
    }
}

/// A row: its labels, and its counts.
pub type Counted<'a> = (Vec<(&'static str, String)>, &'a Tally);

/// Tells what was counted of rows, family by family.
pub fn write_rows(out: &mut Exposition, rows: &[Counted<'_>]) {
    out.family(
        "tcpmon_probe_duration_seconds",
        Kind::Histogram,
        "How long probes took that were answered.",
    );
    for (labels, tally) in rows {
        let mut up_to = 0;
        let bounds = BOUNDS_US.iter().zip(tally.answers).map(|(bound, count)| {
            up_to += count;
            (seconds(*bound), up_to)
        });
        let bounds: Vec<(f64, u64)> = bounds.collect();
        out.histogram(labels, &bounds, tally.answered(), seconds(tally.answers_us));
    }
    out.family(
        "tcpmon_probe_phase_seconds",
        Kind::Summary,
        "Where the time of probes went: resolve and connect by themselves, first_byte and match from the connection on, close the goodbye after the verdict.",
    );
    for (labels, tally) in rows {
        for (phase, (count, sum)) in PHASES.iter().zip(tally.phases) {
            if count > 0 {
                out.sum(&with(labels, ("phase", phase)), count, seconds(sum));
            }
        }
    }
    out.family(
        "tcpmon_probe_failures",
        Kind::Counter,
        "Probes that failed, by reason.",
    );
    for (labels, tally) in rows {
        for ((_, word), count) in Why::ALL.iter().zip(tally.failures) {
            out.sample(&with(labels, ("reason", word)), count as f64);
        }
    }
    out.family(
        "tcpmon_probe_lateness_seconds",
        Kind::Summary,
        "How late probes began; in records of a manager less than 0.1 s counts as none.",
    );
    for (labels, tally) in rows {
        out.sum(labels, tally.probes(), seconds(tally.late_us));
    }
    out.family(
        "tcpmon_probe_skipped",
        Kind::Counter,
        "Ticks that passed without a probe, by reason.",
    );
    for (labels, tally) in rows {
        for (why, count) in SkipWhy::ALL.iter().zip(tally.skipped) {
            if count > 0 {
                out.sample(&with(labels, ("reason", why.as_str())), count as f64);
            }
        }
    }
    out.family(
        "tcpmon_probe_retransmits",
        Kind::Counter,
        "Connections that took a second longer than usual, as when a SYN is lost.",
    );
    for (labels, tally) in rows {
        out.sample(labels, tally.retransmits as f64);
    }
    out.family(
        "tcpmon_probe_last_timestamp_seconds",
        Kind::Gauge,
        "When the latest probe began, by the clock of its agent.",
    );
    for (labels, tally) in rows.iter().filter(|(_, tally)| tally.last_ms > 0) {
        out.sample(labels, tally.last_ms as f64 / 1e3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Format;
    use crate::model::{Failure, Phases, Wall};

    fn sample(us: u64, why: Option<Why>) -> Sample {
        Sample {
            target: "web".parse().unwrap(),
            at: Wall(us),
            us,
            phases: Phases {
                connect: Some(us / 2),
                ..Phases::default()
            },
            failure: why.map(|why| Failure {
                why,
                text: String::new(),
            }),
            tries: 1,
            late_us: 10,
            addr: None,
            dns_stale: false,
            retransmit: why.is_none(),
            each: None,
        }
    }

    #[test]
    fn results_fall_into_their_buckets() {
        let mut tally = Tally::default();
        for us in [1, 500, 501, 10_000_000, 10_000_001] {
            tally.add(&sample(us, None));
        }
        tally.add(&sample(3_000_000, Some(Why::Timeout)));
        tally.skip(3, SkipWhy::Workers);
        let mut out = Exposition::new(Format::Text);
        write_rows(&mut out, &[(vec![("target", "web".to_string())], &tally)]);
        let text = out.finish();
        for line in [
            "tcpmon_probe_duration_seconds_bucket{target=\"web\",le=\"0.0005\"} 2",
            "tcpmon_probe_duration_seconds_bucket{target=\"web\",le=\"0.001\"} 3",
            "tcpmon_probe_duration_seconds_bucket{target=\"web\",le=\"10\"} 4",
            "tcpmon_probe_duration_seconds_bucket{target=\"web\",le=\"+Inf\"} 5",
            "tcpmon_probe_duration_seconds_count{target=\"web\"} 5",
            "tcpmon_probe_duration_seconds_sum{target=\"web\"} 20.001003",
            "tcpmon_probe_phase_seconds_count{target=\"web\",phase=\"connect\"} 6",
            "tcpmon_probe_failures_total{target=\"web\",reason=\"timeout\"} 1",
            "tcpmon_probe_failures_total{target=\"web\",reason=\"refused\"} 0",
            "tcpmon_probe_lateness_seconds_count{target=\"web\"} 6",
            "tcpmon_probe_lateness_seconds_sum{target=\"web\"} 0.00006",
            "tcpmon_probe_skipped_total{target=\"web\",reason=\"workers\"} 3",
            "tcpmon_probe_retransmits_total{target=\"web\"} 5",
            "tcpmon_probe_last_timestamp_seconds{target=\"web\"} 10000.001",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
