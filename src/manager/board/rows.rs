//! Which rows there are: one for each target of each agent, and for each address of a
//! target whose addresses are rows of their own.
//!
//! The fleet makes the former. The latter come with their first result, in place of the row
//! of the whole name, and go when the agent says that it probes the address no more. Rows
//! that come or go are put into their places all at once, when verdicts are worked out next:
//! there may be thousands of them at a time.

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

    /// Puts rows that came into their places and takes out those that went.
    pub(super) fn tidy(&mut self) {
        if !std::mem::take(&mut self.untidy) {
            return;
        }
        self.cells.sort_by(|a, b| a.place().cmp(&b.place()));
        let mut rest = std::mem::take(&mut self.cells).into_iter().peekable();
        while let Some(first) = rest.next() {
            let mut rows = vec![first];
            while let Some(next) = rest.next_if(|next| is_beside(&rows[0], next)) {
                rows.push(next);
            }
            self.cells.extend(kept(rows));
        }
        self.index();
        self.set_ranges();
    }

    /// Sorts the rows, and finds them by agent and target.
    fn index(&mut self) {
        self.cells.sort_by(|a, b| a.place().cmp(&b.place()));
        for agent in self.agents.values_mut() {
            agent.rows.clear();
            agent.fresh.clear();
        }
        let mut start = 0;
        for rows in self.cells.chunk_by(is_beside) {
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

    /// The rows of a target as an agent sees it, those that are not in their places yet
    /// among them.
    fn own_rows(&self, agent: &Name, target: &Name) -> impl Iterator<Item = usize> + '_ {
        let agent = self.agents.get(agent);
        let placed = agent.and_then(|a| a.rows.get(target)).cloned();
        let fresh = agent.and_then(|a| a.fresh.get(target));
        placed
            .into_iter()
            .flatten()
            .chain(fresh.into_iter().flatten().copied())
    }

    /// The row of a target, or of one address of it, if there is one.
    pub(super) fn row_at(
        &self,
        agent: &Name,
        target: &Name,
        each: Option<IpAddr>,
    ) -> Option<usize> {
        let is_it = |&row: &usize| self.cells[row].each == each && !self.cells[row].ended;
        self.own_rows(agent, target).find(is_it)
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
        let first = &self.cells[self.own_rows(agent, target).next()?];
        if let Some(row) = self.row_at(agent, target, each) {
            // The row of the whole name is to make way.
            self.untidy |= each.is_some() && first.each.is_none();
            return Some(row);
        }
        let fresh = |row: usize| {
            let state = self.state(&self.cells[row], now);
            !matches!(state, State::Stale | State::Unknown)
        };
        let is_address = |row: &usize| self.cells[*row].each.is_some();
        let addresses = self.own_rows(agent, target).filter(is_address).count();
        let allowed = match each {
            Some(_) => first.target.each_address && addresses < ADDRESSES_MAX,
            None => !self.own_rows(agent, target).any(fresh),
        };
        if !allowed {
            return None;
        }
        let watched = Watched {
            target: first.target.clone(),
            rules: first.rules,
        };
        self.cells.push(Cell::new(agent.clone(), watched, each));
        self.untidy = true;
        let row = self.cells.len() - 1;
        let fresh = &mut self.agents.get_mut(agent)?.fresh;
        fresh.entry(target.clone()).or_default().push(row);
        Some(row)
    }

    /// An address is probed no more, as of `at` in the agent's time.
    pub(super) fn end_row(&mut self, agent: &Name, target: &Name, each: IpAddr, at: Wall) {
        let Some(row) = self.row_at(agent, target, Some(each)) else {
            return;
        };
        let later = self.cells[row]
            .last
            .as_ref()
            .is_some_and(|last| last.at > at);
        self.cells[row].ended = !later;
        self.untidy |= !later;
    }
}

/// Whether two rows are of the same target as the same agent sees it.
fn is_beside(a: &Cell, b: &Cell) -> bool {
    a.target.name == b.target.name && a.agent == b.agent
}

/// Of the rows of one target as one agent sees it, those that stay: the row of the whole
/// name makes way for addresses of which something newer is known, and comes back when the
/// last of them is gone.
fn kept(rows: Vec<Cell>) -> Vec<Cell> {
    let (ended, mut rows): (Vec<Cell>, Vec<Cell>) = rows.into_iter().partition(|cell| cell.ended);
    let heard = |cell: &Cell| cell.last.as_ref().map(|last| last.at);
    let addresses = rows.iter().filter(|cell| cell.each.is_some());
    if let Some(newest) = addresses.map(heard).max() {
        rows.retain(|cell| cell.each.is_some() || heard(cell) > newest);
    }
    if let (true, Some(last)) = (rows.is_empty(), ended.into_iter().next()) {
        let watched = Watched {
            target: last.target,
            rules: last.rules,
        };
        rows.push(Cell::new(last.agent, watched, None));
    }
    rows
}

#[cfg(test)]
mod tests;
