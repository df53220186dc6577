//! Numbers for Prometheus: the text that its scrapers read (text format 0.0.4, and
//! OpenMetrics 1.0 for who asks for it), and what is counted of each probed row.
//!
//! Always: a family is told once, with its help and all its samples together; names and units
//! are as <https://prometheus.io/docs/practices/naming/> has them: base units, `_total` for
//! what only rises.

mod tally;

use std::fmt::Write;

pub use tally::{Tally, write_rows};

/// Which of the two texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for: whichever it likes better, the older where it does
    /// not say.
    pub fn accepted(accept: &str) -> Format {
        let liking = |kind: &str| {
            let of_kind = accept.split(',').filter_map(|part| {
                let mut words = part.split(';').map(str::trim);
                let is_it = words.next()?.eq_ignore_ascii_case(kind);
                let weight = words.find_map(|word| word.strip_prefix("q=")?.parse::<f64>().ok());
                is_it.then_some(weight.unwrap_or(1.0))
            });
            of_kind.fold(0.0, f64::max)
        };
        let open = liking("application/openmetrics-text");
        match open > 0.0 && open >= liking("text/plain") {
            true => Format::OpenMetrics,
            false => Format::Text,
        }
    }

    /// The media type.
    pub fn kind(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; its samples' name ends with `_total`.
    Counter,
    Gauge,
    Histogram,
    /// A sum and a count.
    Summary,
}

/// A text being written.
#[derive(Debug)]
pub struct Exposition {
    out: String,
    format: Format,
    family: &'static str,
    kind: Kind,
}

impl Exposition {
    /// Nothing yet.
    pub fn new(format: Format) -> Exposition {
        Exposition {
            out: String::new(),
            format,
            family: "",
            kind: Kind::Gauge,
        }
    }

    /// Begins a family. A counter's name is given without `_total`.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        (self.family, self.kind) = (name, kind);
        let (word, suffix) = match (kind, self.format) {
            (Kind::Counter, Format::Text) => ("counter", "_total"),
            (Kind::Counter, Format::OpenMetrics) => ("counter", ""),
            (Kind::Gauge, _) => ("gauge", ""),
            (Kind::Histogram, _) => ("histogram", ""),
            (Kind::Summary, _) => ("summary", ""),
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.out, "# HELP {name}{suffix} {help}");
        let _ = writeln!(self.out, "# TYPE {name}{suffix} {word}");
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample::<&str>(&[], value);
    }

    /// A sample of the family, a counter's or a gauge's.
    pub fn sample<S: AsRef<str>>(&mut self, labels: &[(&str, S)], value: f64) {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            _ => "",
        };
        self.line(suffix, labels, value);
    }

    /// A sample of a summary: what so many came to.
    pub fn sum<S: AsRef<str>>(&mut self, labels: &[(&str, S)], count: u64, sum: f64) {
        self.line("_sum", labels, sum);
        self.line("_count", labels, count as f64);
    }

    /// A sample of a histogram: how many did not exceed each bound, how many there are, and
    /// what they came to.
    pub fn histogram<S: AsRef<str>>(
        &mut self,
        labels: &[(&str, S)],
        bounds: &[(f64, u64)],
        count: u64,
        sum: f64,
    ) {
        for (bound, up_to) in bounds {
            let mut le = bound.to_string();
            if self.format == Format::OpenMetrics && !le.contains('.') {
                le.push_str(".0");
            }
            self.line("_bucket", &with(labels, ("le", &le)), *up_to as f64);
        }
        self.line("_bucket", &with(labels, ("le", "+Inf")), count as f64);
        self.sum(labels, count, sum);
    }

    fn line<S: AsRef<str>>(&mut self, suffix: &str, labels: &[(&str, S)], value: f64) {
        self.out.push_str(self.family);
        self.out.push_str(suffix);
        let mut open = '{';
        for (name, value) in labels {
            self.out.push(open);
            open = ',';
            self.out.push_str(name);
            self.out.push_str("=\"");
            push_label(&mut self.out, value.as_ref());
            self.out.push('"');
        }
        if open == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

/// Labels and one more.
pub fn with<'a, S: AsRef<str>>(
    labels: &'a [(&'a str, S)],
    more: (&'a str, &'a str),
) -> Vec<(&'a str, &'a str)> {
    let labels = labels.iter().map(|(name, value)| (*name, value.as_ref()));
    labels.chain([more]).collect()
}

fn push_label(out: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            // A carriage return would end the line for some readers.
            char if char.is_control() => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
}

/// Microseconds as seconds.
pub fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(format: Format) -> String {
        let mut out = Exposition::new(format);
        out.single("up", Kind::Gauge, "whether\nit \\ is", 1.0);
        out.family("seen", Kind::Counter, "how many");
        out.sample(&[("who", "a\"\\\n\r")], 12_345_678_901.0);
        out.sample(&[("who", "b"), ("x", "")], 0.0);
        out.family("took_seconds", Kind::Histogram, "how long");
        out.histogram(&[("t", "x")], &[(0.0005, 1), (1.0, 2)], 3, 2.5);
        out.family("late_seconds", Kind::Summary, "how late");
        out.sum::<&str>(&[], 2, 0.25);
        out.finish()
    }

    #[test]
    fn both_formats_are_written() {
        let expected = "\
# HELP up whether\\nit \\\\ is
# TYPE up gauge
up 1
# HELP seen_total how many
# TYPE seen_total counter
seen_total{who=\"a\\\"\\\\\\n\u{fffd}\"} 12345678901
seen_total{who=\"b\",x=\"\"} 0
# HELP took_seconds how long
# TYPE took_seconds histogram
took_seconds_bucket{t=\"x\",le=\"0.0005\"} 1
took_seconds_bucket{t=\"x\",le=\"1\"} 2
took_seconds_bucket{t=\"x\",le=\"+Inf\"} 3
took_seconds_sum{t=\"x\"} 2.5
took_seconds_count{t=\"x\"} 3
# HELP late_seconds how late
# TYPE late_seconds summary
late_seconds_sum 0.25
late_seconds_count 2
";
        assert_eq!(text(Format::Text), expected);
        let open = expected
            .replace("HELP seen_total", "HELP seen")
            .replace("TYPE seen_total", "TYPE seen")
            .replace("le=\"1\"", "le=\"1.0\"");
        assert_eq!(text(Format::OpenMetrics), open + "# EOF\n");
    }

    #[test]
    fn who_asks_gets_the_format_it_likes_better() {
        use Format::{OpenMetrics, Text};
        for (accept, expected) in [
            ("", Text),
            ("*/*", Text),
            ("text/plain", Text),
            ("application/openmetrics-text; version=1.0.0", OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
                OpenMetrics,
            ),
            ("text/plain;q=0.9, Application/OpenMetrics-Text;q=0.1", Text),
            ("application/openmetrics-text;q=0", Text),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }
}
