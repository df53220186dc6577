//! The table of the live view: which columns there is room for, how wide each is, and
//! what a row shows in them.

use super::line::{Line, Style};
use crate::manager::board::{RECENT_MAX, Row, State, Widest};
use crate::model::Wall;
use crate::stats::Outcome;
use crate::term::Colour;
use crate::text;
use crate::units::{HostPort, age_text, latency_text};

/// From this many columns on, the reason has a column of its own and columns stand further apart.
const WIDE_MIN: usize = 100;
/// No name takes more than this part of the line.
const NAME_PART: usize = 3;
/// Least width of a name, of an address and of the recent results.
const NAME_MIN: usize = 8;
const ADDRESS_MIN: usize = 9;
const RECENT_MIN: usize = 8;
/// Width of a state: `flapping`, `down 1/2`.
const STATE: usize = 8;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const FAILED: char = '✗';

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Target,
    Address,
    Agent,
    State,
    For,
    Why,
    Last,
    P50,
    P95,
    Loss,
    Recent,
}

/// What goes first when the terminal is narrow.
const DROPPED: [Column; 8] = [
    Column::Address,
    Column::P95,
    Column::P50,
    Column::Loss,
    Column::Recent,
    Column::Agent,
    Column::Last,
    Column::For,
];

impl Column {
    fn title(self) -> &'static str {
        match self {
            Column::Target => "TARGET",
            Column::Address => "ADDRESS",
            Column::Agent => "AGENT",
            Column::State => "STATE",
            Column::For => "FOR",
            Column::Why => "WHY",
            Column::Last => "LAST",
            Column::P50 => "P50",
            Column::P95 => "P95",
            Column::Loss => "LOSS",
            Column::Recent => "RECENT",
        }
    }

    /// Numbers stand right, words left.
    fn is_number(self) -> bool {
        use Column::*;
        matches!(self, For | Last | P50 | P95 | Loss)
    }
}

/// The columns and their widths, for one width of the terminal.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(Column, usize)>,
    gap: usize,
    width: usize,
}

impl Table {
    pub fn of(widest: Widest, width: usize) -> Table {
        use Column::*;
        let want = |len: usize, title: Column| {
            let most = (width / NAME_PART).max(NAME_MIN);
            len.max(title.title().len()).min(most)
        };
        let wants = [
            want(widest.target, Target),
            want(widest.address, Address),
            want(widest.agent, Agent),
        ];
        let mut columns = vec![
            (Target, wants[0].min(NAME_MIN)),
            (Address, wants[1].min(ADDRESS_MIN)),
            (Agent, 5),
            (State, STATE),
            (For, 4),
            (Last, 5),
            (P50, 5),
            (P95, 5),
            (Loss, 4),
            (Recent, RECENT_MIN),
        ];
        if width >= WIDE_MIN {
            columns.insert(5, (Why, 11));
        }
        let gap = if width >= WIDE_MIN { 2 } else { 1 };
        let mut table = Table {
            columns,
            gap,
            width,
        };
        table.shrink();
        table.grow(&[(Target, wants[0]), (Address, wants[1]), (Agent, wants[2])]);
        table
    }

    fn used(&self) -> usize {
        let widths: usize = self.columns.iter().map(|c| c.1).sum();
        widths + self.gap * (self.columns.len() - 1)
    }

    fn shrink(&mut self) {
        for drop in DROPPED {
            if self.used() <= self.width {
                return;
            }
            self.columns.retain(|c| c.0 != drop);
        }
    }

    /// Gives what is left to the names in turn, and the rest to the recent results.
    fn grow(&mut self, wants: &[(Column, usize)]) {
        let mut left = self.width.saturating_sub(self.used());
        let mut growing = true;
        while growing && left > 0 {
            growing = false;
            for (column, width) in &mut self.columns {
                let want = wants.iter().find(|w| w.0 == *column).map_or(0, |w| w.1);
                if *width < want && left > 0 {
                    *width += 1;
                    left -= 1;
                    growing = true;
                }
            }
        }
        if let Some(recent) = self.columns.iter_mut().find(|c| c.0 == Column::Recent) {
            recent.1 = (recent.1 + left).min(RECENT_MAX);
        }
    }

    pub fn titles(&self, colour: Colour) -> Line {
        self.line(colour, |column, _| {
            vec![(column.title().to_string(), Style::Dim)]
        })
    }

    pub fn row(&self, row: &Row, now: Wall, colour: Colour) -> Line {
        self.line(colour, |column, width| match column {
            Column::Recent => spark(&row.recent, width),
            Column::Address => vec![(address(&row.address, width), Style::Plain)],
            Column::State => vec![(state(row), style_of(row))],
            _ => vec![cell(column, row, now)],
        })
    }

    fn line(&self, colour: Colour, pieces: impl Fn(Column, usize) -> Vec<(String, Style)>) -> Line {
        let mut line = Line::new(self.width, colour);
        let mut start = 0;
        for &(column, width) in &self.columns {
            let pieces = pieces(column, width);
            let taken: usize = pieces.iter().map(|p| text::width(&p.0)).sum();
            let indent = match column.is_number() {
                true => width.saturating_sub(taken),
                false => 0,
            };
            if taken > 0 {
                line.pad_to(start + indent);
            }
            for (piece, style) in pieces {
                match text::width(&piece) > width {
                    true => line.put(&text::fit(&piece, width), style),
                    false => line.put(&piece, style),
                }
            }
            start += width + self.gap;
        }
        line
    }
}

fn cell(column: Column, row: &Row, now: Wall) -> (String, Style) {
    let latency = |us: Option<u64>| us.map_or_else(none, latency_text);
    let plain = |text: String| (text, Style::Plain);
    match column {
        Column::Target => (row.target.to_string(), Style::Bold),
        Column::Agent => plain(row.agent.to_string()),
        Column::For => plain(row.since.map_or_else(none, |since| age(since, now))),
        Column::Why => {
            let says = row.state != State::Up || row.undecided.is_some() || row.flapping;
            let why = row.why.filter(|_| says);
            (why.map_or("", |w| w.as_str()).to_string(), Style::Plain)
        }
        Column::Last => plain(latency(row.us)),
        Column::P50 => plain(latency(row.p50_us)),
        Column::P95 => plain(latency(row.p95_us)),
        Column::Loss => match row.loss {
            Some(loss) if loss > 0.0 => (percent(loss), Style::Yellow),
            Some(_) => plain("0%".to_string()),
            None => plain(none()),
        },
        // Made to measure.
        Column::Address | Column::State | Column::Recent => plain(String::new()),
    }
}

/// An address whose port stays to be seen when the host is cut: `www.exa…:443`.
fn address(address: &HostPort, width: usize) -> String {
    let whole = address.to_string();
    let port = whole.rfind(':').unwrap_or(whole.len());
    let (host, port) = whole.split_at(port);
    match width.checked_sub(port.len()) {
        Some(room) if host.len() > room && room > 1 => text::fit(host, room) + port,
        _ => whole,
    }
}

fn none() -> String {
    "-".to_string()
}

/// A state in a word, with how far a change of it has come: `up 1/3`. An unknown one leaves
/// the word to that; of a flapping target the state is not worth it.
fn state(row: &Row) -> String {
    let state = state_word(row);
    // In brackets what nobody is alerted of.
    match row.quiet.is_some() && state.len() + 2 <= STATE {
        true => format!("({state})"),
        false => state,
    }
}

fn state_word(row: &Row) -> String {
    match row.undecided {
        _ if row.flapping => "flapping".to_string(),
        // The word has to fit its column.
        None if row.state == State::Unreachable => "unreach.".to_string(),
        None => row.state.to_string(),
        Some(undecided) if row.state == State::Unknown => format!("? {undecided}"),
        Some(undecided) => format!("{} {undecided}", row.state),
    }
}

fn style_of(row: &Row) -> Style {
    match row.state {
        _ if row.quiet.is_some() => Style::Dim,
        _ if row.flapping => Style::Yellow,
        State::Down => Style::Red,
        State::Slow | State::Stale | State::Unreachable => Style::Yellow,
        State::Up if row.undecided.is_some() => Style::Yellow,
        State::Unknown => Style::Dim,
        State::Up => Style::Green,
    }
}

/// How long ago `since` was.
pub(super) fn age(since: Wall, now: Wall) -> String {
    age_text(now.since(since))
}

/// A fraction in at most four characters: `0.3%`, `12%`, `100%`. Never `0%` when some
/// failed, never `100%` when some did not.
pub(super) fn percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    match percent {
        p if p <= 0.0 => "0%".to_string(),
        p if p < 9.95 => format!("{:.1}%", p.max(0.1)),
        p if p < 100.0 => format!("{:.0}%", p.min(99.0)),
        _ => "100%".to_string(),
    }
}

/// The newest `width` results: failures as crosses, latencies as bars from the least of
/// them to the most, but at least to twice the least, so that noise stays low.
fn spark(recent: &[Outcome], width: usize) -> Vec<(String, Style)> {
    let shown = &recent[recent.len().saturating_sub(width)..];
    let answered = shown.iter().filter_map(|o| match o {
        Outcome::Answered(us) => Some(*us),
        Outcome::Failed => None,
    });
    let low = answered.clone().min().unwrap_or(0);
    let high = answered.max().unwrap_or(0).max(low.saturating_mul(2));
    let span = (high - low).max(1);
    shown
        .chunk_by(|a, b| (*a == Outcome::Failed) == (*b == Outcome::Failed))
        .map(|run| match run[0] {
            Outcome::Failed => (FAILED.to_string().repeat(run.len()), Style::Red),
            Outcome::Answered(_) => (
                run.iter().map(|o| bar(*o, low, span)).collect(),
                Style::Plain,
            ),
        })
        .collect()
}

fn bar(outcome: Outcome, low: u64, span: u64) -> char {
    let Outcome::Answered(us) = outcome else {
        return FAILED;
    };
    let top = BARS.len() as u64 - 1;
    let height = (us - low).saturating_mul(top).saturating_add(span / 2) / span;
    BARS[height.min(top) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_takes_four_characters_and_is_never_rounded_to_none_or_all() {
        for (fraction, expected) in [
            (0.0, "0%"),
            (0.00001, "0.1%"),
            (0.0994, "9.9%"),
            (0.0996, "10%"),
            (0.5, "50%"),
            (0.9999, "99%"),
            (1.0, "100%"),
        ] {
            assert_eq!(percent(fraction), expected);
        }
    }

    #[test]
    fn bars_are_scaled_to_the_row_and_failures_stand_out() {
        use Outcome::*;
        let text = |recent: &[Outcome], width| -> String {
            spark(recent, width).into_iter().map(|p| p.0).collect()
        };
        let rising: Vec<_> = (0..8).map(|i| Answered(100 + 100 * i)).collect();
        for (recent, width, expected) in [
            (&[][..], 10, ""),
            (&[Answered(7), Answered(7)], 10, "▁▁"),
            (&[Answered(100), Answered(110)], 10, "▁▂"),
            (&rising, 8, "▁▂▃▄▅▆▇█"),
            (&rising, 2, "▁▂"),
            (&[Failed, Answered(1), Failed, Failed], 3, "▁✗✗"),
            (&[Answered(0), Answered(u64::MAX)], 5, "▁▂"),
        ] {
            assert_eq!(text(recent, width), expected, "{recent:?}");
        }
    }

    #[test]
    fn columns_fill_the_line_and_go_one_by_one() {
        let widest = Widest {
            target: 11,
            address: 15,
            agent: 5,
        };
        for width in 0..300 {
            let table = Table::of(widest, width);
            let used = table.used();
            assert!(used <= width.max(17), "{used} at {width}");
            if (80..130).contains(&width) {
                assert_eq!(used, width);
            }
        }
        let count = |width| Table::of(widest, width).columns.len();
        assert_eq!((count(100), count(80), count(40), count(0)), (11, 10, 5, 2));
    }
}
