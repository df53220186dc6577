//! What many plain results of one row come to, once they are summarised: how many there
//! were, from when to when, and how long they took.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Names, optional, write_row};
use crate::json::{Object, Reader, SyntaxError};
use crate::model::{Name, Row, Wall};

/// Results that all answered, in microseconds; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    pub target: Name,
    pub each: Option<IpAddr>,
    pub count: u64,
    /// When the first and the last of them started.
    pub from: Wall,
    pub to: Wall,
    pub min_us: u64,
    pub mean_us: u64,
    pub max_us: u64,
    /// 95 % of them took no longer than that.
    pub p95_us: u64,
}

/// One in so many took as long as the 95th percentile.
const P95_EVERY: u64 = 20;

impl Sums {
    /// The sums of results, which are not none: when each started, and how long it took.
    pub fn of(row: Row, results: &[(Wall, u64)]) -> Sums {
        let mut us: Vec<u64> = results.iter().map(|result| result.1).collect();
        us.sort_unstable();
        let count = us.len();
        let sum: u128 = us.iter().map(|us| u128::from(*us)).sum();
        let at = |place: Option<&(Wall, u64)>| place.map_or(Wall(0), |result| result.0);
        Sums {
            target: row.target,
            each: row.each,
            count: count as u64,
            from: at(results.first()),
            to: at(results.last()),
            min_us: us[0],
            mean_us: u64::try_from(sum / count as u128).unwrap_or(u64::MAX),
            max_us: us[count - 1],
            p95_us: us[(count * 95).div_ceil(100) - 1],
        }
    }

    /// Results that have these sums, as nearly as can be told: evenly spread over the
    /// time, with the least, the longest, and one in twenty at the 95th percentile.
    pub fn results(&self) -> impl Iterator<Item = (Wall, u64)> + use<> {
        let Sums {
            count, from, to, ..
        } = *self;
        let (min, mean, max, p95) = (self.min_us, self.mean_us, self.max_us, self.p95_us);
        let slow = count.saturating_sub(2) / P95_EVERY;
        let others = count.saturating_sub(2 + slow);
        let whole = u128::from(mean) * u128::from(count);
        let known = u128::from(min) + u128::from(max) + u128::from(p95) * u128::from(slow);
        let rest = whole.saturating_sub(known) / u128::from(others.max(1));
        let other = u64::try_from(rest).unwrap_or(u64::MAX).clamp(min, max);
        let span = to.0.saturating_sub(from.0);
        (0..count).map(move |i| {
            let part = u128::from(span) * u128::from(i) / u128::from((count - 1).max(1));
            let at = Wall(from.0 + u64::try_from(part).unwrap_or(span));
            let us = match i {
                _ if i == count - 1 => max,
                0 => min,
                _ if i % P95_EVERY == 0 => p95,
                _ => other,
            };
            (at, us)
        })
    }

    pub(super) fn write(&self, o: &mut Object<'_>) {
        write_row(o, &self.target, self.each)
            .u64("count", self.count)
            .u64("from", self.from.0)
            .u64("to", self.to.0)
            .u64("min_us", self.min_us)
            .u64("mean_us", self.mean_us)
            .u64("max_us", self.max_us)
            .u64("p95_us", self.p95_us);
    }

    pub(super) fn read(r: &mut Reader<'_>, names: &mut Names<'_>) -> Result<Sums, SyntaxError> {
        let (mut target, mut each) = (None, None);
        let mut n = [0; 7];
        r.object(|r, key| {
            match &*key {
                "target" => target = Some(r.string()?),
                "each" => each = Some(r.string()?),
                "count" => n[0] = r.u64()?,
                "from" => n[1] = r.u64()?,
                "to" => n[2] = r.u64()?,
                "min_us" => n[3] = r.u64()?,
                "mean_us" => n[4] = r.u64()?,
                "max_us" => n[5] = r.u64()?,
                "p95_us" => n[6] = r.u64()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        let bad = |text: Cow<'static, str>| r.error(text);
        let target: Cow<'_, str> = target.ok_or_else(|| bad("sums of no target".into()))?;
        let target = names(&target).map_err(|text| bad(text.into()))?;
        let each = optional(each, "each").map_err(bad)?;
        let [count, from, to, min_us, mean_us, max_us, p95_us] = n;
        if count == 0 || to < from {
            return Err(bad("sums of nothing".into()));
        }
        Ok(Sums {
            target,
            each,
            count,
            from: Wall(from),
            to: Wall(to),
            min_us,
            mean_us,
            max_us,
            p95_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            target: "web".parse().unwrap(),
            each: None,
        }
    }

    #[test]
    fn sums_are_those_of_the_results() {
        let results: Vec<(Wall, u64)> = (1..=100).map(|n| (Wall(n * 1000), 101 - n)).collect();
        let sums = Sums::of(row(), &results);
        assert_eq!(
            (sums.count, sums.from, sums.to),
            (100, Wall(1000), Wall(100_000))
        );
        let told = (sums.min_us, sums.mean_us, sums.p95_us, sums.max_us);
        assert_eq!(told, (1, 50, 95, 100));
        let one = Sums::of(row(), &[(Wall(7), 5)]);
        assert_eq!((one.count, one.from, one.to), (1, Wall(7), Wall(7)));
        assert_eq!(
            (one.min_us, one.mean_us, one.p95_us, one.max_us),
            (5, 5, 5, 5)
        );
    }

    #[test]
    fn results_made_of_sums_have_them() {
        for count in [1, 2, 3, 19, 20, 21, 22, 100, 2500] {
            let results: Vec<(Wall, u64)> = (0..count)
                .map(|n| (Wall(5_000 + n * 1000), 1_000 + n * 7919 % 1000))
                .collect();
            let sums = Sums::of(row(), &results);
            let made: Vec<(Wall, u64)> = sums.results().collect();
            let again = Sums::of(row(), &made);
            let ends = (again.count, again.from, again.to);
            assert_eq!(ends, (count, sums.from, sums.to));
            let times = made.iter().zip(&results).all(|(a, b)| a.0 == b.0);
            assert!(times, "{count}");
            assert_eq!(again.max_us, sums.max_us, "{count}");
            assert!(again.mean_us.abs_diff(sums.mean_us) < 60, "{count}");
        }
    }
}
