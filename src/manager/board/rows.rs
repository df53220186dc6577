//! Which rows there are: one for each target of each agent, and for each address of a
//! target whose addresses are rows of their own.
//!
//! The fleet makes the former. The latter come with their first result, in place of the row
//! of the whole name, and go when the agent says that it probes the address no more.

use std::collections::HashMap;
use std::net::IpAddr;

use super::cell::Cell;
use super::{Board, State, Widest};
use crate::config::Fleet;
use crate::model::{ADDRESSES_MAX, Name, Wall, Watched};

impl Board {
    /// Makes the rows of a fleet, as [`Board::set_fleet`] does, and knows what depends on what.
    pub fn show(&mut self, fleet: &Fleet) {
        let watched = |agent: &Name| (agent.clone(), fleet.watched_by(agent));
        let agents = fleet.agents.iter();
        self.set_fleet(&agents.map(|a| watched(&a.name)).collect::<Vec<_>>());
        for agent in &fleet.agents {
            self.set_anchors(&agent.name, agent.anchors.clone());
        }
        let dependent = fleet.targets.iter().filter(|t| !t.depends_on.is_empty());
        for target in dependent {
            self.set_parents(&target.name, &target.depends_on);
        }
        self.set_order();
    }

    /// Makes a row for each target of each agent. What is known of a row stays as long as
    /// its target, address and agent stay; of an agent, as long as its name stays.
    pub fn set_fleet(&mut self, fleet: &[(Name, Vec<Watched>)]) {
        let mut known: HashMap<(Name, Name), Vec<Cell>> = HashMap::new();
        for cell in self.cells.drain(..) {
            let place = (cell.agent.clone(), cell.target.name.clone());
            known.entry(place).or_default().push(cell);
        }
        self.asked_quiet = Wall(0);
        for (agent, targets) in fleet {
            for watched in targets {
                let place = (agent.clone(), watched.target.name.clone());
                let mut old = known.remove(&place).unwrap_or_default();
                // One that moved is a new one; rows of addresses stay while there are to be such.
                let (address, each) = (&watched.target.address, watched.target.each_address);
                old.retain(|cell| cell.target.address == *address);
                old.retain(|cell| cell.each.is_none() || each);
                if old.is_empty() {
                    let fresh = Cell::new(agent.clone(), watched.clone(), None);
                    self.cells.push(fresh);
                }
                let renewed = old.into_iter().map(|cell| cell.renewed(watched.clone()));
                self.cells.extend(renewed);
            }
        }
        self.names = fleet.iter().map(|(agent, _)| agent.clone()).collect();
        let mut old = std::mem::take(&mut self.agents);
        for name in &self.names {
            let agent = old.remove(name).unwrap_or_default();
            self.agents.insert(name.clone(), agent);
        }
        self.index();
        self.regroup();
    }

    /// Sorts the rows, and finds them by agent and target.
    fn index(&mut self) {
        self.cells.sort_by(|a, b| a.place().cmp(&b.place()));
        self.agents.values_mut().for_each(|a| a.rows.clear());
        let mut start = 0;
        let same = |a: &Cell, b: &Cell| a.place().0 == b.place().0 && a.agent == b.agent;
        for rows in self.cells.chunk_by(same) {
            let range = start..start + rows.len();
            start = range.end;
            if let Some(agent) = self.agents.get_mut(&rows[0].agent) {
                agent.rows.insert(rows[0].target.name.clone(), range);
            }
        }
        self.widest = Widest::of(&self.cells);
    }

    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        self.cells.len()
    }

    /// The row of a target, or of one address of it, if there is one.
    pub(super) fn row_at(
        &self,
        agent: &Name,
        target: &Name,
        each: Option<IpAddr>,
    ) -> Option<usize> {
        let rows = self.agents.get(agent)?.rows.get(target)?.clone();
        rows.into_iter().find(|&row| self.cells[row].each == each)
    }

    /// The row that a live result is for. An address that comes for the first time gets one;
    /// the whole name has none while anything is known of its addresses.
    pub(super) fn row_for(
        &mut self,
        agent: &Name,
        target: &Name,
        each: Option<IpAddr>,
        now: Wall,
    ) -> Option<usize> {
        let rows = self.agents.get(agent)?.rows.get(target)?.clone();
        let first = &self.cells[rows.start];
        let whole = first.each.is_none();
        if let Some(row) = self.row_at(agent, target, each) {
            if each.is_none() || !whole {
                return Some(row);
            }
            self.cells.remove(rows.start);
            self.index();
            self.set_ranges();
            return self.row_at(agent, target, each);
        }
        let fresh = |cell: &Cell| !matches!(self.state(cell, now), State::Stale | State::Unknown);
        let allowed = match each {
            Some(_) => first.target.each_address && rows.len() < ADDRESSES_MAX + usize::from(whole),
            None => !self.cells[rows.clone()].iter().any(fresh),
        };
        if !allowed {
            return None;
        }
        let watched = Watched {
            target: first.target.clone(),
            rules: first.rules,
        };
        let cell = Cell::new(agent.clone(), watched, each);
        match whole {
            // It makes way.
            true => self.cells[rows.start] = cell,
            false => self.cells.push(cell),
        }
        self.index();
        self.set_ranges();
        self.row_at(agent, target, each)
    }

    /// An address is probed no more, as of `at` in the agent's time. The last one makes way
    /// for the row of the whole name.
    pub(super) fn end_row(&mut self, agent: &Name, target: &Name, each: IpAddr, at: Wall) {
        let Some(row) = self.row_at(agent, target, Some(each)) else {
            return;
        };
        if self.cells[row]
            .last
            .as_ref()
            .is_some_and(|last| last.at > at)
        {
            return;
        }
        let rows = self.agents[agent].rows[target].clone();
        let cell = self.cells.remove(row);
        if rows.len() == 1 {
            let watched = Watched {
                target: cell.target,
                rules: cell.rules,
            };
            self.cells.push(Cell::new(cell.agent, watched, None));
        }
        self.index();
        self.set_ranges();
    }
}

#[cfg(test)]
mod tests;
