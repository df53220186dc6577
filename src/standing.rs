//! What people were told of a target, and what of its verdict now is news.
//!
//! Pure: verdicts come in, news goes out. Always: nothing is news that was told before,
//! nor while the target is flapping; what changed meanwhile is told when that is over.

use std::time::Duration;

use crate::health::{Known, Verdict};
use crate::model::Wall;

/// Something worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    Down,
    /// `outage`: how long it was down, if it was.
    Slow {
        outage: Option<Duration>,
    },
    /// What it was before, and for how long.
    Up {
        from: Verdict,
        after: Duration,
    },
    /// It changes too often.
    Flapping,
    /// It does so no longer.
    Steady,
}

/// What people were told last of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    told: Option<Known>,
    /// When it was told that it flaps, or that it does no longer.
    turned: Option<Wall>,
    /// That it still is so was seen since a restart.
    confirmed: bool,
}

impl Standing {
    /// Takes back what was told before a restart.
    pub fn restore(&mut self, told: Known) {
        self.told = Some(told);
        self.confirmed = false;
    }

    /// What is told, since when that is so; `None` until it was seen since a restart.
    pub fn confirmed(&self) -> Option<(Known, Wall)> {
        let told = self.told.filter(|_| self.confirmed)?;
        let since = match told.flapping {
            true => self.turned.unwrap_or(told.since),
            false => self.turned.map_or(told.since, |at| at.max(told.since)),
        };
        Some((told, since))
    }

    /// What was told last: kept on disk.
    pub fn told(&self) -> Option<Known> {
        self.told
    }

    /// What is told of it has been so only since `at`, if it seemed to be for longer.
    pub fn began_no_earlier(&mut self, at: Wall) {
        if let Some(told) = &mut self.told {
            told.since = told.since.max(at);
        }
    }

    /// Compares what is so `at` this moment with what was told, and is told with that. Gives
    /// back what is worth telling, in order.
    pub fn tell(&mut self, now: Known, at: Wall) -> Vec<News> {
        let mut news = Vec::new();
        self.confirmed = true;
        if self.told.is_some_and(|told| told.flapping) != now.flapping {
            self.turned = Some(at);
            news.push(match now.flapping {
                true => News::Flapping,
                false => News::Steady,
            });
        }
        if now.flapping {
            let told = self.told.unwrap_or(now);
            self.told = Some(Known {
                flapping: true,
                ..told
            });
            return news;
        }
        let before = self.told.map(|told| (told.verdict, told.since));
        // What is told of it stays told, also since when.
        let same = before.filter(|(verdict, _)| *verdict == now.verdict);
        let since = same.map_or(now.since, |(_, since)| since);
        self.told = Some(Known { since, ..now });
        let after = |since: Wall| now.since.since(since);
        match (before, now.verdict) {
            (None, Verdict::Up) => {}
            (Some((from, _)), to) if from == to => {}
            (_, Verdict::Down) => news.push(News::Down),
            (before, Verdict::Slow) => news.push(News::Slow {
                outage: before.and_then(|(from, at)| (!from.answers()).then(|| after(at))),
            }),
            (Some((from, at)), Verdict::Up) => news.push(News::Up {
                from,
                after: after(at),
            }),
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Health, Run};
    use crate::model::Rules;

    fn at(second: u64) -> Wall {
        Wall(1_000_000_000 + second * 1000)
    }

    fn rules(down_after: &str, up_after: u32) -> Rules {
        Rules {
            slow: Some(Duration::from_millis(200)),
            down_after: down_after.parse().unwrap(),
            up_after,
            ..Rules::default()
        }
    }

    /// A target seen by one agent.
    #[derive(Default)]
    struct Seen {
        health: Health,
        standing: Standing,
    }

    impl Seen {
        /// `+` answers, `~` answers slowly, `x` fails; a second apart.
        fn play(&mut self, rules: &Rules, from: u64, results: &str) -> Vec<News> {
            let mut news = Vec::new();
            for (second, letter) in (from..).zip(results.chars()) {
                let run = Run {
                    answered_us: match letter {
                        '+' => Some(200_000),
                        '~' => Some(200_001),
                        _ => None,
                    },
                    times: 1,
                    since: at(second),
                    seen: at(second),
                };
                self.health.take(rules, run);
                let known = self.health.known();
                news.extend(
                    known
                        .into_iter()
                        .flat_map(|known| self.standing.tell(known, at(second))),
                );
            }
            news
        }

        fn verdict(&self) -> Option<Verdict> {
            self.standing.told().map(|told| told.verdict)
        }
    }

    fn up(seconds: u64) -> News {
        News::Up {
            from: Verdict::Down,
            after: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn news_tells_what_was_before_and_for_how_long() {
        let mut seen = Seen::default();
        let told = seen.play(&rules("3", 2), 1, "+xxxx++~~xxx~~++");
        let expected = [
            News::Down,
            up(4),
            News::Slow { outage: None },
            News::Down,
            News::Slow {
                outage: Some(Duration::from_secs(3)),
            },
            News::Up {
                from: Verdict::Slow,
                after: Duration::from_secs(2),
            },
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_first_verdict_is_news_unless_it_is_up() {
        for (results, expected) in [
            ("+", vec![]),
            ("x", vec![News::Down]),
            ("~", vec![News::Slow { outage: None }]),
        ] {
            let told = Seen::default().play(&rules("1", 1), 1, results);
            assert_eq!(told, expected, "{results}");
        }
    }

    #[test]
    fn flapping_is_told_once_and_hides_other_news() {
        let rules = rules("1", 1);
        let mut seen = Seen::default();
        // Six changes in a row are above 30 %; the news before are told.
        assert_eq!(seen.play(&rules, 1, "+x+x+x").len(), 5);
        assert_eq!(seen.play(&rules, 1, "+"), [News::Flapping]);
        assert_eq!(seen.play(&rules, 1, "x+x+x+x+x+"), []);
        // The state goes on, and what differs from what was told before comes in the end.
        assert_eq!(seen.verdict(), Some(Verdict::Down));
        let told = seen.play(&rules, 1, &"+".repeat(15));
        assert_eq!(told, [News::Steady, up(4)]);
        let told = seen.standing.told().unwrap();
        assert_eq!((told.flapping, told.verdict), (false, Verdict::Up));
    }

    #[test]
    fn what_was_told_survives_a_restart() {
        let rules = rules("2", 2);
        for (verdict, results, expected) in [
            (Verdict::Up, "+", vec![]),
            (Verdict::Up, "xx", vec![News::Down]),
            (Verdict::Down, "xxx", vec![]),
            (Verdict::Down, "++", vec![up(5)]),
            (Verdict::Slow, "~~~", vec![]),
        ] {
            let mut seen = Seen::default();
            let told = Known {
                verdict,
                since: at(0),
                flapping: false,
            };
            seen.health.restore(told);
            seen.standing.restore(told);
            assert_eq!(seen.play(&rules, 5, results), expected, "{verdict:?}");
        }
    }

    #[test]
    fn what_is_told_keeps_its_beginning() {
        let mut standing = Standing::default();
        let known = |second| Known {
            verdict: Verdict::Down,
            since: at(second),
            flapping: false,
        };
        assert_eq!(standing.tell(known(10), at(40)), [News::Down]);
        // Another agent sees it later.
        assert_eq!(standing.tell(known(20), at(50)), []);
        assert_eq!(standing.told(), Some(known(10)));
        standing.began_no_earlier(at(5));
        assert_eq!(standing.told(), Some(known(10)));
        standing.began_no_earlier(at(30));
        assert_eq!(standing.told(), Some(known(30)));
    }

    #[test]
    fn what_flaps_from_the_start_is_told() {
        let mut standing = Standing::default();
        let known = |verdict, flapping| Known {
            verdict,
            since: at(1),
            flapping,
        };
        let told = standing.tell(known(Verdict::Up, true), at(5));
        assert_eq!(told, [News::Flapping]);
        let since = |standing: &Standing| standing.confirmed().map(|(_, since)| since);
        assert_eq!(since(&standing), Some(at(5)));
        let told = standing.tell(known(Verdict::Down, false), at(9));
        assert_eq!(told, [News::Steady, News::Down]);
        // What it is now is told only since then.
        assert_eq!(since(&standing), Some(at(9)));
        // After a restart it is nothing until it is seen.
        let told = standing.told().unwrap();
        standing.restore(told);
        assert_eq!(since(&standing), None);
        assert_eq!(standing.tell(told, at(20)), []);
        assert!(since(&standing).is_some());
    }
}
