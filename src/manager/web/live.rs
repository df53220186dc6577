//! The live part of the page: what has changed of it, sent as events to who keeps it open.
//!
//! Each stream remembers what it sent last, a number for each block; what is the same is not
//! sent again. Where rows came, went or changed places, the whole table is.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Site;
use super::rows::{Ask, Blocks};
use crate::clock;
use crate::http::access::Grant;
use crate::http::request::Request;
use crate::http::server::{Answer, Events};
use crate::json;

/// How often it is looked for what has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A stream of what changes on the page that the query asks for.
pub fn stream(site: &Arc<Site>, grant: Grant, request: &Request) -> Answer {
    let ask = match Ask::read(request) {
        Ok(ask) => ask,
        Err(reply) => return reply.into(),
    };
    let site = Arc::clone(site);
    Answer::Events(Box::new(move |events| run(&site, grant, &ask, events)))
}

fn run(site: &Site, grant: Grant, ask: &Ask, events: &mut Events<'_>) -> io::Result<()> {
    let mut sent = Sent::default();
    loop {
        for (id, html) in sent.news(&site.blocks(grant, ask)) {
            let mut data = String::new();
            json::object(&mut data, |o| {
                o.str("id", &id).str("html", &html);
            });
            events.send("block", &data)?;
        }
        events.beat()?;
        clock::sleep(LOOK_EVERY);
    }
}

/// What was sent last.
#[derive(Debug, Default)]
struct Sent {
    blocks: HashMap<String, u64>,
    rows: Vec<String>,
}

impl Sent {
    /// The blocks that differ from what was sent, as they are now. The first time that is
    /// all of them: the page may be older than the stream.
    fn news(&mut self, blocks: &Blocks) -> Vec<(String, String)> {
        let rows: Vec<String> = blocks.rows.iter().map(|(id, _)| id.clone()).collect();
        let same_rows = rows == self.rows;
        self.rows = rows;
        let mut news = Vec::new();
        for (id, html) in &blocks.rows {
            if self.is_news(id, html) && same_rows {
                news.push((id.clone(), html.clone()));
            }
        }
        for (id, html) in &blocks.others {
            if self.is_news(id, html) {
                news.push((id.clone(), html.clone()));
            }
        }
        if !same_rows {
            news.push(("targets".to_string(), blocks.table()));
            let all = blocks.rows.iter().chain(&blocks.others);
            let known: HashSet<&str> = all.map(|(id, _)| id.as_str()).collect();
            self.blocks.retain(|id, _| known.contains(id.as_str()));
        }
        news
    }

    /// Notes what a block is now; whether it was something else.
    fn is_news(&mut self, id: &str, html: &str) -> bool {
        let number = number(html);
        self.blocks.insert(id.to_string(), number) != Some(number)
    }
}

fn number(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(rows: &[(&str, &str)], others: &[(&str, &str)]) -> Blocks {
        let own = |list: &[(&str, &str)]| {
            let own = list
                .iter()
                .map(|(id, html)| (id.to_string(), html.to_string()));
            own.collect()
        };
        Blocks {
            rows: own(rows),
            others: own(others),
            head: "head".into(),
            foot: "foot".into(),
            title: "✓ up".into(),
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let mut sent = Sent::default();
        let mut ids = |rows: &[(&str, &str)], others: &[(&str, &str)]| {
            let news = sent.news(&blocks(rows, others));
            news.into_iter()
                .map(|(id, _)| id)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(ids(&[("a", "1"), ("b", "1")], &[("x", "1")]), "x targets");
        assert_eq!(ids(&[("a", "1"), ("b", "1")], &[("x", "1")]), "");
        assert_eq!(ids(&[("a", "1"), ("b", "2")], &[("x", "1")]), "b");
        assert_eq!(ids(&[("b", "2"), ("a", "1")], &[("x", "2")]), "x targets");
        assert_eq!(ids(&[("b", "3")], &[("x", "2")]), "targets");
        assert_eq!(ids(&[("b", "3")], &[("x", "2")]), "");
    }
}
