//! Outages that were over before they were known: only a backlog tells of them.
//!
//! They are told together once the backlog rests for a moment, so that what else it tells
//! of is there to judge them by: what an agent saw while all its anchors were down for it,
//! or behind something that was down, was no outage. Each is told once, and not when it was
//! told already or somebody else could tell meanwhile.

use std::collections::HashSet;
use std::time::Duration;

use super::{Board, EventKind};
use crate::manager::quiet::Cause;
use crate::model::{Name, Wall};
use crate::units::{age_text, clock_text, count_text};

/// How long a backlog has to tell of no more outages.
const REST: Duration = Duration::from_secs(5);
/// Most outages that wait to be told; more are counted.
const OUTAGES_MAX: usize = 1_000;
/// So many are told one by one; more as one event.
const EACH_MAX: usize = 5;

/// One agent's outage of one target.
#[derive(Debug, Clone)]
pub(super) struct Outage {
    pub agent: Name,
    pub target: Name,
    pub began: Wall,
    pub ended: Wall,
}

impl Outage {
    fn overlaps(&self, other: &Outage) -> bool {
        self.began <= other.ended && other.began <= self.ended
    }
}

/// Those that wait to be told.
#[derive(Debug, Default)]
pub(super) struct Late {
    outages: Vec<Outage>,
    left_out: u64,
    /// When the latest was heard of.
    heard: Wall,
}

impl Late {
    /// Hears of one.
    pub fn note(&mut self, outage: Outage, now: Wall) {
        self.heard = now;
        match self.outages.len() < OUTAGES_MAX {
            true => self.outages.push(outage),
            false => self.left_out += 1,
        }
    }

    fn rests(&mut self, now: Wall) -> bool {
        self.heard = self.heard.min(now);
        !self.outages.is_empty() && now.since(self.heard) >= REST
    }
}

impl Board {
    /// Tells of the outages that wait, once no more are heard of.
    pub(super) fn settle_late(&mut self, now: Wall, quiet: impl Fn(&Name, Wall) -> Option<Cause>) {
        if !self.late.rests(now) {
            return;
        }
        let Late {
            outages, left_out, ..
        } = std::mem::take(&mut self.late);
        let mut texts = Vec::new();
        for outage in &outages {
            let excused =
                quiet(&outage.target, outage.began).is_some() || self.was_excused(outage, &outages);
            if let Some(told) = (!excused).then(|| self.tell_late(outage, now)).flatten() {
                texts.push(told);
            }
        }
        let many = texts.len() > EACH_MAX;
        let targets: HashSet<&Name> = texts.iter().map(|(_, target, _)| target).collect();
        let count = count_text(texts.len() as u64);
        let of = targets.len();
        if many {
            let text = format!("{count} outages of {of} targets are known only now: see report");
            self.push_event(now, EventKind::Late, text, None, None);
        }
        if left_out > 0 {
            let text = format!(
                "{} more outages that are known only now are not told",
                count_text(left_out)
            );
            self.push_event(now, EventKind::Late, text, None, None);
        }
        for (g, _, text) in texts.into_iter().filter(|_| !many) {
            self.push_target_event(now, EventKind::Late, text, g);
        }
    }

    /// Whether its agent was cut off, or something on the way was down.
    fn was_excused(&self, outage: &Outage, all: &[Outage]) -> bool {
        let seen = |target: &Name, by: Option<&Name>| {
            let of = |o: &&Outage| o.target == *target && by.is_none_or(|agent| o.agent == *agent);
            all.iter().filter(of).any(|o| o.overlaps(outage))
        };
        let anchors = self.agents.get(&outage.agent).map(|a| a.anchors.as_slice());
        let anchors = anchors.unwrap_or_default();
        if !anchors.is_empty() && anchors.iter().all(|a| seen(a, Some(&outage.agent))) {
            return true;
        }
        let Some(g) = self.group_named(&outage.target) else {
            return true;
        };
        self.parents(g).iter().any(|&parent| {
            let looks = self.rows_of(parent, &outage.agent).next().is_some();
            let told = self.told_outage(parent);
            let told = told.is_some_and(|(from, to)| outage.began <= to && from <= outage.ended);
            told || seen(&self.targets[parent], looks.then_some(&outage.agent))
        })
    }

    /// Tells of one, unless it was told, or others could tell meanwhile: its group, its
    /// target and the line.
    fn tell_late(&mut self, outage: &Outage, now: Wall) -> Option<(usize, Name, String)> {
        let Outage {
            agent,
            target,
            began,
            ended,
        } = outage;
        let g = self.group_named(target)?;
        let told = self.told_outage(g).map(|(from, to)| (from, to.min(now)));
        let was_told = told.is_some_and(|(from, to)| *began <= to && from <= *ended);
        let others = self.groups[g]
            .cells
            .clone()
            .filter(|&i| self.cells[i].agent != *agent);
        let others_told = others.into_iter().any(|i| {
            let other = self.agents.get(&self.cells[i].agent);
            let link = other.and_then(|a| a.link.as_ref());
            link.is_some_and(|link| link.connected && link.since <= *began)
        });
        if was_told || others_told {
            return None;
        }
        let lasted = age_text(ended.since(*began));
        let text = format!(
            "{target} was down from {agent} {}\u{2013}{} UTC ({lasted}), which is known only now",
            clock_text(*began),
            clock_text(*ended),
        );
        self.groups[g].outage_known(*began, *ended);
        let event = self.late_event(g, agent, text.clone(), (*began, *ended));
        self.late_told.push(event);
        Some((g, target.clone(), text))
    }
}

#[cfg(test)]
mod tests;
