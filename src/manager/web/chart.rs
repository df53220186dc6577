//! The bars of a trend as pictures: a strip of availability for a row, and a chart of
//! latency for a target.
//!
//! Always: what was not measured is drawn as a gap, and what differs in colour differs in
//! shape, too.

use std::fmt::Write;

use crate::manager::trend::{BARS, Bar, By};
use crate::model::Wall;
use crate::text::html;
use crate::units::{count_text, latency_text, utc_text};

/// Width of a bar in a strip and in a chart, in units of their own.
const STRIP_BAR: usize = 3;
const CHART_BAR: usize = 8;
/// From where to where a chart's latencies are drawn, and where failures are marked.
const TOP: f64 = 12.0;
const BOTTOM: f64 = 132.0;
const MARKS: usize = 140;
const HEIGHT: usize = 152;
/// From this part of failed probes on a bar is bad.
const BAD: f64 = 0.1;

/// Bars with their beginnings, oldest first.
pub type Bars<'a> = Vec<(Wall, Option<&'a Bar>)>;

/// What a bar looks like: a class, and how high it is of 20. The lower, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Unmeasured,
    Up,
    /// It failed only while it was left alone.
    Quiet,
    Partly,
    Bad,
}

impl Look {
    const ALL: [Look; 5] = [
        Look::Unmeasured,
        Look::Up,
        Look::Quiet,
        Look::Partly,
        Look::Bad,
    ];

    fn of(bar: Option<&Bar>) -> Look {
        let Some(bar) = bar.filter(|bar| bar.probes() > 0) else {
            return Look::Unmeasured;
        };
        let failed = bar.failed - bar.quiet;
        match (bar.failed, failed) {
            (0, _) => Look::Up,
            (_, 0) => Look::Quiet,
            _ if (failed as f64) < BAD * bar.probes() as f64 => Look::Partly,
            _ => Look::Bad,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Look::Unmeasured => "n",
            Look::Up => "u",
            Look::Quiet => "m",
            Look::Partly => "p",
            Look::Bad => "d",
        }
    }

    fn height(self) -> usize {
        match self {
            Look::Unmeasured => 2,
            Look::Up => 20,
            Look::Quiet => 17,
            Look::Partly => 13,
            Look::Bad => 8,
        }
    }
}

/// The strip of a row.
pub fn strip(bars: &Bars<'_>, by: By) -> String {
    let looks: Vec<Look> = bars.iter().map(|(_, bar)| Look::of(*bar)).collect();
    let mut out = format!(
        "<svg class=\"strip\" viewBox=\"0 0 {} 20\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
        BARS * STRIP_BAR,
        html(&summary(bars, by)),
    );
    for look in Look::ALL {
        let mut path = String::new();
        let mut at = 0;
        for run in looks.chunk_by(|a, b| a == b) {
            if run[0] == look {
                let (x, width, height) = (at * STRIP_BAR, run.len() * STRIP_BAR, look.height());
                let _ = write!(path, "M{x} 20v-{height}h{width}v{height}z");
            }
            at += run.len();
        }
        if !path.is_empty() {
            let _ = write!(out, "<path class=\"{}\" d=\"{path}\"/>", look.class());
        }
    }
    out + "</svg>"
}

/// What a strip says in words.
pub fn summary(bars: &Bars<'_>, by: By) -> String {
    let measured = bars.iter().filter_map(|(_, bar)| *bar);
    let (probes, failed) = measured.fold((0, 0), |(probes, failed), bar| {
        (probes + bar.probes(), failed + bar.failed)
    });
    let by = by.as_str();
    if probes == 0 {
        return format!("last {BARS} {by}s: not measured");
    }
    let with_failures = bars
        .iter()
        .filter(|(_, bar)| matches!(Look::of(*bar), Look::Partly | Look::Bad))
        .count();
    let unmeasured = bars.iter().filter(|(_, bar)| bar.is_none()).count();
    let percent = percent(probes - failed, probes);
    let mut text = format!(
        "last {BARS} {by}s: {percent} of {} probes answered",
        count_text(probes)
    );
    for (count, what) in [
        (with_failures, "with failures"),
        (unmeasured, "not measured"),
    ] {
        if count > 0 {
            let s = if count == 1 { "" } else { "s" };
            let _ = write!(text, ", {count} {by}{s} {what}");
        }
    }
    text
}

/// A part of a whole; it is 100 % only when nothing is lacking.
fn percent(part: u64, whole: u64) -> String {
    match part == whole {
        true => "100 %".to_string(),
        false => format!(
            "{:.2} %",
            (part as f64 / whole as f64 * 1e4).floor() / 100.0
        ),
    }
}

/// The chart of a target: the line of the median, the band up to the 95th percentile, a
/// cross where probes failed, hatching where nothing was measured.
pub fn chart(bars: &Bars<'_>, by: By) -> String {
    let top = bars
        .iter()
        .filter_map(|(_, bar)| bar.as_ref()?.latencies.quantile(0.95))
        .max();
    let scale = nice(top.unwrap_or(0).max(2));
    let y = |us: u64| BOTTOM - (us as f64 / scale as f64).min(1.0) * (BOTTOM - TOP);
    let width = bars.len() * CHART_BAR;
    let mut out = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {width} {HEIGHT}\" role=\"img\" aria-label=\"latency by {}: {}\"><defs><pattern id=\"h\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><path class=\"hatch\" d=\"M0 6L6 0\"/></pattern></defs>",
        by.as_str(),
        html(&summary(bars, by)),
    );
    for (part, label) in [
        (scale, latency_text(scale)),
        (scale / 2, latency_text(scale / 2)),
        (0, String::new()),
    ] {
        let y = y(part);
        let _ = write!(out, "<path class=\"grid\" d=\"M0 {y:.1}H{width}\"/>");
        if !label.is_empty() && top.is_some() {
            let _ = write!(out, "<text x=\"2\" y=\"{:.1}\">{label}</text>", y - 2.0);
        }
    }
    let (mut gaps, mut marks) = (String::new(), String::new());
    for (at, (_, bar)) in bars.iter().enumerate() {
        let x = at * CHART_BAR;
        match bar {
            None => {
                let _ = write!(gaps, "M{x} {TOP}h{CHART_BAR}V{BOTTOM}h-{CHART_BAR}z");
            }
            Some(bar) if bar.failed > 0 => {
                let _ = write!(marks, "M{} {MARKS}l5 8m0 -8l-5 8", x + 1);
            }
            Some(_) => {}
        }
    }
    let (band, middle, upper) = lines(bars, y);
    for (class, path) in [
        ("gap", gaps),
        ("band", band),
        ("p95", upper),
        ("p50", middle),
        ("fail", marks),
    ] {
        if !path.is_empty() {
            let _ = write!(out, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }
    for (at, (began, bar)) in bars.iter().enumerate() {
        if let Some(bar) = bar {
            let x = at * CHART_BAR;
            let _ = write!(
                out,
                "<rect class=\"hit\" x=\"{x}\" width=\"{CHART_BAR}\" height=\"{HEIGHT}\"><title>{}</title></rect>",
                html(&told(*began, bar)),
            );
        }
    }
    out + "</svg>"
}

/// The paths of the band, the median and the 95th percentile, broken where there is none.
fn lines(bars: &Bars<'_>, y: impl Fn(u64) -> f64) -> (String, String, String) {
    let point = |(at, (_, bar)): (usize, &(Wall, Option<&Bar>))| {
        let latencies = &bar.as_ref()?.latencies;
        let (p50, p95) = (latencies.quantile(0.5)?, latencies.quantile(0.95)?);
        Some((at * CHART_BAR, y(p50), y(p95)))
    };
    let points: Vec<(usize, f64, f64)> = bars.iter().enumerate().filter_map(point).collect();
    let (mut band, mut middle, mut upper) = (String::new(), String::new(), String::new());
    for run in points.chunk_by(|a, b| a.0 + CHART_BAR == b.0) {
        let step = |path: &mut String, first: &str, of: &dyn Fn(&(usize, f64, f64)) -> f64| {
            for (no, point) in run.iter().enumerate() {
                let (x, y) = (point.0, of(point));
                let _ = match no {
                    0 => write!(path, "{first}{x} {y:.1}"),
                    _ => write!(path, "V{y:.1}"),
                };
                let _ = write!(path, "H{}", x + CHART_BAR);
            }
        };
        step(&mut middle, "M", &|point| point.1);
        step(&mut upper, "M", &|point| point.2);
        step(&mut band, "M", &|point| point.2);
        for point in run.iter().rev() {
            let _ = write!(band, "V{:.1}H{}", point.1, point.0);
        }
        band.push('z');
    }
    (band, middle, upper)
}

/// A bar in words.
fn told(began: Wall, bar: &Bar) -> String {
    let mut text = format!("{}: {} probes", utc_text(began), count_text(bar.probes()));
    if bar.failed > 0 {
        let _ = write!(text, ", {} failed", count_text(bar.failed));
    }
    for (name, q) in [("p50", 0.5), ("p95", 0.95)] {
        if let Some(us) = bar.latencies.quantile(q) {
            let _ = write!(text, ", {name} {}", latency_text(us));
        }
    }
    text
}

/// The least of 1, 2, 5, 10, 20 … that is no less than `us`.
fn nice(us: u64) -> u64 {
    let mut step = 1u64;
    loop {
        for factor in [1, 2, 5] {
            let nice = step.saturating_mul(factor);
            if nice >= us || nice == u64::MAX {
                return nice;
            }
        }
        step = step.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(answers: &[u64], failed: u64, quiet: u64) -> Bar {
        let mut bar = Bar {
            failed,
            quiet,
            ..Bar::default()
        };
        answers.iter().for_each(|us| bar.latencies.add(*us));
        bar
    }

    fn at(hour: u64) -> Wall {
        Wall(1_763_820_000_000 + hour * By::Hour.ms())
    }

    #[test]
    fn a_strip_says_what_it_shows() {
        let (up, partly) = (bar(&[1; 20], 0, 0), bar(&[1; 20], 1, 0));
        let (bad, quiet) = (bar(&[], 3, 0), bar(&[1], 2, 2));
        let bars = [
            None,
            Some(&up),
            Some(&up),
            Some(&partly),
            Some(&bad),
            Some(&quiet),
        ];
        let bars: Bars<'_> = bars
            .into_iter()
            .enumerate()
            .map(|(n, b)| (at(n as u64), b))
            .collect();
        let strip = strip(&bars, By::Hour);
        for part in [
            "<path class=\"n\" d=\"M0 20v-2h3v2z\"/>",
            "<path class=\"u\" d=\"M3 20v-20h6v20z\"/>",
            "<path class=\"p\" d=\"M9 20v-13h3v13z\"/>",
            "<path class=\"d\" d=\"M12 20v-8h3v8z\"/>",
            "<path class=\"m\" d=\"M15 20v-17h3v17z\"/>",
            "last 90 hours: 91.04 % of 67 probes answered, 2 hours with failures, 1 hour not measured",
        ] {
            assert!(strip.contains(part), "{part}\n{strip}");
        }
        assert_eq!(
            summary(&vec![(at(0), None)], By::Day),
            "last 90 days: not measured"
        );
        assert_eq!(percent(99_999_999, 100_000_000), "99.99 %");
    }

    #[test]
    fn a_chart_breaks_where_nothing_was_measured() {
        let (one, two, none) = (
            bar(&[1_000, 3_000], 0, 0),
            bar(&[4_000], 1, 0),
            bar(&[], 2, 0),
        );
        let bars: Bars<'_> = vec![
            (at(0), Some(&one)),
            (at(1), Some(&two)),
            (at(2), None),
            (at(3), Some(&two)),
            (at(4), Some(&none)),
        ];
        let chart = chart(&bars, By::Hour);
        for part in [
            "viewBox=\"0 0 40 152\"",
            ">5.0ms</text>",
            "<path class=\"gap\" d=\"M16 12h8V132h-8z\"/>",
            "<path class=\"p50\" d=\"M0 108.0H8V36.0H16M24 36.0H32\"/>",
            "<path class=\"fail\" d=\"M9 140l5 8m0 -8l-5 8M25 140l5 8m0 -8l-5 8M33 140l5 8m0 -8l-5 8\"/>",
            "<title>2025-11-22T15:00Z: 2 probes, 1 failed, p50 4.0ms, p95 4.0ms</title>",
        ] {
            assert!(chart.contains(part), "{part}\n{chart}");
        }
        assert!(
            chart.contains("<path class=\"band\" d=\"M0 60.0H8V36.0H16V36.0H8V108.0H0zM24"),
            "{chart}"
        );
    }

    #[test]
    fn scales_are_round() {
        for (us, expected) in [
            (1, 1),
            (2, 2),
            (3, 5),
            (6, 10),
            (5_001, 10_000),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(nice(us), expected);
        }
    }
}
