//! Times that are left out of account, put together from any number of spans.
//!
//! Pure. Always: in order, none empty, none touching the next, so that a moment is found
//! by halving and nothing counts twice.

use crate::model::Wall;
use crate::quiet::Span;

/// Spans in order that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(Vec<Span>);

impl Spans {
    /// All that lies in any of these, in any order.
    pub fn new(mut spans: Vec<Span>) -> Spans {
        spans.retain(|span| span.from < span.until);
        spans.sort_unstable();
        spans.dedup_by(|next, before| {
            let joins = next.from <= before.until;
            if joins {
                before.until = before.until.max(next.until);
            }
            joins
        });
        Spans(spans)
    }

    /// Whether this moment lies within one.
    pub fn contains(&self, at: Wall) -> bool {
        self.after(at).first().is_some_and(|span| span.from <= at)
    }

    /// The milliseconds of `from..until` that lie within these; none where it is empty.
    pub fn overlap_ms(&self, from: Wall, until: Wall) -> u64 {
        let reaching = self.after(from).iter().take_while(|span| span.from < until);
        let within = |span: &Span| {
            let (from, until) = (span.from.max(from), span.until.min(until));
            until.0.saturating_sub(from.0)
        };
        reaching.map(within).sum()
    }

    /// Those that end after `at`.
    fn after(&self, at: Wall) -> &[Span] {
        &self.0[self.0.partition_point(|span| span.until <= at)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(list: &[(u64, u64)]) -> Spans {
        let span = |&(from, until): &(u64, u64)| Span {
            from: Wall(from),
            until: Wall(until),
        };
        Spans::new(list.iter().map(span).collect())
    }

    #[test]
    fn what_overlaps_or_touches_is_one() {
        for (given, joined) in [
            (&[][..], &[][..]),
            (&[(5, 5), (7, 6)], &[]),
            (&[(20, 30), (10, 15)], &[(10, 15), (20, 30)]),
            (&[(10, 20), (20, 30), (5, 12)], &[(5, 30)]),
            (&[(10, 40), (20, 30), (50, 60)], &[(10, 40), (50, 60)]),
        ] {
            let got: Vec<_> = spans(given)
                .0
                .iter()
                .map(|s| (s.from.0, s.until.0))
                .collect();
            assert_eq!(got, joined, "{given:?}");
        }
    }

    #[test]
    fn a_stretch_overlaps_by_what_lies_within() {
        let out = spans(&[(10, 20), (30, 40)]);
        for (from, until, ms) in [
            (0, 10, 0),
            (0, 11, 1),
            (12, 15, 3),
            (19, 31, 2),
            (0, 100, 20),
            (20, 30, 0),
            (40, 50, 0),
            (18, 12, 0),
        ] {
            assert_eq!(
                out.overlap_ms(Wall(from), Wall(until)),
                ms,
                "{from} {until}"
            );
        }
        for (at, within) in [(9, false), (10, true), (19, true), (20, false), (39, true)] {
            assert_eq!(out.contains(Wall(at)), within, "{at}");
        }
        assert!(!spans(&[]).contains(Wall(0)));
    }
}
