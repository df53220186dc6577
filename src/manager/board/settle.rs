//! What the rows add up to: who has a say on a target, the verdict over its agents, and
//! what of it is told.
//!
//! A failure says nothing of the target while its agent is cut off from all its anchors, or
//! while something the target is reached through is down. So a failure that might turn out
//! to be of that kind is held back for a moment before it is told; it is shown at once.

use std::ops::Range;
use std::time::Duration;

use super::cell::Cell;
use super::{Agent, Board, EventKind, State, link};
use crate::health::{Known, Verdict};
use crate::manager::quiet::Cause;
use crate::manager::state::{Announced, Verdicts};
use crate::model::{Name, Wall};
use crate::quorum::{parents_first, verdict};
use crate::standing::{News, Standing};
use crate::units::{HostPort, age_text, duration_text, latency_text};

/// Longest time for which an outage is held back, because what would excuse it is not
/// known to answer.
const DOUBT_MAX: Duration = Duration::from_secs(60);
/// Longest time for which an outage is held back, because an agent has not been heard yet.
const HEARD_WITHIN: Duration = Duration::from_secs(15);
/// How often it is asked whether targets are left alone.
const ASK_QUIET: Duration = Duration::from_secs(1);
/// Most agents named in one event.
const NAMED_MAX: usize = 4;

/// One target: its rows, what it hangs on, and what was told of it.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub cells: Range<usize>,
    pub address: Option<HostPort>,
    /// The groups without which it cannot be reached.
    parents: Vec<usize>,
    pub standing: Standing,
    pub quiet: Option<Cause>,
    /// Since when an outage of it is held back.
    held_since: Option<Wall>,
    /// The outage that was told last.
    outage: Option<(Wall, Wall)>,
}

/// Who says what at one moment.
#[derive(Debug)]
pub(super) struct Voices {
    /// Of each row: its state.
    raw: Vec<State>,
    /// Of each row: its state, or why that has no say.
    pub rows: Vec<State>,
    /// Of each group.
    pub verdicts: Vec<State>,
}

impl Group {
    /// It was down from then until then, which was not known when it was so.
    pub fn outage_known(&mut self, began: Wall, ended: Wall) {
        self.outage = Some((began, ended));
        self.standing.began_no_earlier(ended);
    }
}

impl Board {
    /// The groups without which one cannot be reached.
    pub(super) fn parents(&self, g: usize) -> &[usize] {
        &self.groups[g].parents
    }

    /// The outage of a group that was told last, or that goes on.
    pub(super) fn told_outage(&self, g: usize) -> Option<(Wall, Wall)> {
        let group = &self.groups[g];
        let down = group.standing.told().filter(|told| !told.verdict.answers());
        down.map(|told| (told.since, Wall(u64::MAX)))
            .or(group.outage)
    }

    /// Puts the rows together by target; what was told of one stays.
    pub(super) fn regroup(&mut self) {
        let mut old: Vec<(Name, Group)> = std::mem::take(&mut self.groups)
            .into_iter()
            .zip(std::mem::take(&mut self.targets))
            .map(|(group, name)| (name, group))
            .collect();
        for rows in self.cells.chunk_by(|a, b| a.target.name == b.target.name) {
            let name = rows[0].target.name.clone();
            let known = old.binary_search_by(|(old, _)| old.cmp(&name));
            let mut group =
                known.map_or_else(|_| Group::default(), |i| std::mem::take(&mut old[i].1));
            let address = Some(&rows[0].target.address);
            if group.address.as_ref() != address {
                // One that moved is a new one.
                group = Group {
                    address: address.cloned(),
                    ..Group::default()
                };
            }
            group.parents.clear();
            self.groups.push(group);
            self.targets.push(name);
        }
        self.set_ranges();
        self.set_order();
    }

    /// Finds the rows of each group, which are the same groups as before.
    pub(super) fn set_ranges(&mut self) {
        let rows = self.cells.chunk_by(|a, b| a.target.name == b.target.name);
        let mut start = 0;
        for (group, rows) in self.groups.iter_mut().zip(rows) {
            group.cells = start..start + rows.len();
            start = group.cells.end;
        }
    }

    /// Puts back what was told before a restart.
    pub fn restore_told(&mut self, told: &Verdicts) {
        for state in &told.targets {
            if let Some(group) = self.group_named(&state.target) {
                self.groups[group].standing.restore(state.known);
            }
        }
        for (agent, since) in &told.cut_off {
            if let Some(agent) = self.agents.get_mut(agent) {
                agent.cut_off = Some(*since);
            }
        }
    }

    /// What was told, for [`Board::restore_told`].
    pub fn told(&self) -> Verdicts {
        let told = |(name, group): (&Name, &Group)| {
            Some(Announced {
                target: name.clone(),
                each: None,
                known: group.standing.told()?,
            })
        };
        let cut_off = |name: &Name| Some((name.clone(), self.agents.get(name)?.cut_off?));
        Verdicts {
            targets: self
                .targets
                .iter()
                .zip(&self.groups)
                .filter_map(told)
                .collect(),
            cut_off: self.names.iter().filter_map(cut_off).collect(),
        }
    }

    pub(super) fn group_named(&self, name: &Name) -> Option<usize> {
        self.targets.binary_search(name).ok()
    }

    pub(super) fn set_anchors(&mut self, agent: &Name, anchors: Vec<Name>) {
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.anchors = anchors;
        }
    }

    pub(super) fn set_parents(&mut self, target: &Name, parents: &[Name]) {
        let known = parents.iter().filter_map(|name| self.group_named(name));
        let known = known.collect();
        if let Some(group) = self.group_named(target) {
            self.groups[group].parents = known;
        }
    }

    /// Sorts the groups so that parents come first.
    pub(super) fn set_order(&mut self) {
        self.order = parents_first(self.groups.len(), |g| self.parents(g));
    }

    /// Who says what now.
    pub(super) fn voices(&self, now: Wall) -> Voices {
        let raw: Vec<State> = self.cells.iter().map(|c| self.state(c, now)).collect();
        let mut rows = raw.clone();
        let mut verdicts = vec![State::Unknown; self.groups.len()];
        for &g in &self.order {
            let group = &self.groups[g];
            for i in group.cells.clone().filter(|&i| raw[i] == State::Down) {
                let agent = &self.cells[i].agent;
                let behind = |&parent: &usize| self.is_down_for(parent, agent, &rows, &verdicts);
                if self.is_cut_off(agent, &raw) {
                    rows[i] = State::Unknown;
                } else if group.parents.iter().any(behind) {
                    rows[i] = State::Unreachable;
                }
            }
            verdicts[g] = self.verdict_of(group, &rows);
        }
        Voices {
            raw,
            rows,
            verdicts,
        }
    }

    fn verdict_of(&self, group: &Group, rows: &[State]) -> State {
        let rule = self.cells[group.cells.start].rules.down_when;
        verdict(rule, rows[group.cells.clone()].iter().copied())
    }

    /// Whether an agent sees a parent down, or where it does not look, all together do.
    fn is_down_for(&self, parent: usize, agent: &Name, rows: &[State], verdicts: &[State]) -> bool {
        let down = |state: State| matches!(state, State::Down | State::Unreachable);
        let mut own = self.rows_of(parent, agent).peekable();
        match own.peek() {
            Some(_) => own.all(|i| down(rows[i])),
            None => down(verdicts[parent]),
        }
    }

    pub(super) fn rows_of<'a>(
        &'a self,
        group: usize,
        agent: &'a Name,
    ) -> impl Iterator<Item = usize> + 'a {
        let rows = self.groups[group].cells.clone();
        rows.filter(move |&i| self.cells[i].agent == *agent)
    }

    /// The rows in which an agent sees its anchors.
    pub(super) fn anchor_rows<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = usize> + 'a {
        let anchors = self.agents.get(name).map(|agent| &agent.anchors);
        let groups = anchors.into_iter().flatten();
        let groups = groups.filter_map(|anchor| self.group_named(anchor));
        groups.flat_map(move |group| self.rows_of(group, name))
    }

    /// Whether all anchors of an agent are down as it sees them.
    fn is_cut_off(&self, agent: &Name, raw: &[State]) -> bool {
        let mut rows = self.anchor_rows(agent).peekable();
        rows.peek().is_some() && rows.all(|i| raw[i] == State::Down)
    }

    /// Works out the verdicts, and tells what has changed. To be called when something has
    /// come in, and once a second. `quiet` says why nobody is to be alerted of a target at
    /// some time. Whether anything was told since the last time.
    pub fn settle(&mut self, now: Wall, quiet: impl Fn(&Name, Wall) -> Option<Cause>) -> bool {
        self.tidy();
        let voices = self.voices(now);
        for (i, cell) in self.cells.iter_mut().enumerate() {
            // A clock that was set back makes nothing younger than now.
            cell.born = Some(cell.born.map_or(now, |born| born.min(now)));
            if voices.raw[i] == State::Down && voices.rows[i] != State::Down {
                cell.excuse();
            }
        }
        self.tell_cut_off(&voices.raw, now);
        // Asking for every target is not cheap, and a second is soon enough.
        if now.since(self.asked_quiet) >= ASK_QUIET || now < self.asked_quiet {
            self.asked_quiet = now;
            for (group, name) in self.groups.iter_mut().zip(&self.targets) {
                group.quiet = quiet(name, now);
            }
        }
        for g in 0..self.groups.len() {
            self.settle_group(g, &voices, now);
        }
        self.settle_late(now, &quiet);
        std::mem::replace(&mut self.events_settled, self.events_made) < self.events_made
    }

    fn settle_group(&mut self, g: usize, voices: &Voices, now: Wall) {
        let group = &self.groups[g];
        let verdict = match voices.verdicts[g] {
            State::Up => Verdict::Up,
            State::Slow => Verdict::Slow,
            State::Down => Verdict::Down,
            State::Unreachable | State::Stale | State::Unknown => {
                self.groups[g].held_since = None;
                return;
            }
        };
        let told = group.standing.told();
        let is_news = told.is_none_or(|told| told.verdict != Verdict::Down);
        if verdict == Verdict::Down && is_news && self.is_held(g, voices, now) {
            let held = &mut self.groups[g].held_since;
            *held = Some(held.map_or(now, |since| since.min(now)));
            return;
        }
        let state = voices.verdicts[g];
        let known = Known {
            verdict,
            since: self.since(group, &voices.rows, state).unwrap_or(now),
            flapping: self.flaps(group, &voices.rows),
        };
        let group = &mut self.groups[g];
        group.held_since = None;
        let news = group.standing.tell(known, now);
        let over = told.filter(|told| !told.verdict.answers() && verdict.answers());
        if let Some(told) = over.filter(|_| !known.flapping) {
            group.outage = Some((told.since, known.since));
        }
        for news in news {
            let (kind, text) = self.story(g, &voices.rows, state, news);
            self.push_target_event(now, kind, text, g);
        }
    }

    /// The latest change among the rows that agree with the verdict.
    fn since(&self, group: &Group, rows: &[State], state: State) -> Option<Wall> {
        let agree = group.cells.clone().filter(|&i| rows[i] == state);
        agree.filter_map(|i| self.cells[i].since(state)).max()
    }

    /// Whether so many rows flap as would make the target down.
    fn flaps(&self, group: &Group, rows: &[State]) -> bool {
        let flaps = |i: usize| match self.cells[i].flapping(rows[i]) {
            true => State::Down,
            false if rows[i] == State::Down => State::Up,
            false => rows[i],
        };
        let rule = self.cells[group.cells.start].rules.down_when;
        verdict(rule, group.cells.clone().map(flaps)) == State::Down
    }

    /// Whether an outage is not to be told yet: somebody has not been heard, or what would
    /// excuse the failures may be down as well.
    fn is_held(&self, g: usize, voices: &Voices, now: Wall) -> bool {
        let group = &self.groups[g];
        let rows = group.cells.clone();
        let within = |since: Option<Wall>, long| now.since(since.unwrap_or(now)) < long;
        let unheard = |cell: &Cell| {
            let away = self
                .agents
                .get(&cell.agent)
                .is_some_and(Agent::is_told_away);
            !cell.heard() && !away && within(cell.born, HEARD_WITHIN)
        };
        if self.cells[rows.clone()].iter().any(unheard) {
            return true;
        }
        let down_without = |doubted: &dyn Fn(usize) -> bool| {
            let rule = self.cells[rows.start].rules.down_when;
            let certain = rows.clone().map(|i| match voices.rows[i] {
                State::Down if doubted(i) => State::Unknown,
                state => state,
            });
            verdict(rule, certain) == State::Down
        };
        if !down_without(&|i| self.cells[i].owed > 0) {
            return true;
        }
        within(group.held_since, DOUBT_MAX)
            && !down_without(&|i| self.is_in_doubt(i, group, voices))
    }

    /// Whether nothing that would excuse the row's failures has answered since they began.
    fn is_in_doubt(&self, row: usize, group: &Group, voices: &Voices) -> bool {
        let cell = &self.cells[row];
        let Some(since) = cell.since(State::Down) else {
            return false;
        };
        let silent = |rows: Vec<usize>| {
            let tells = |&i: &usize| !matches!(voices.rows[i], State::Stale | State::Unknown);
            let answered = |&i: &usize| self.cells[i].answered >= Some(since);
            rows.iter().any(tells) && !rows.iter().any(answered)
        };
        let parent_rows = |parent: usize| {
            let own: Vec<usize> = self.rows_of(parent, &cell.agent).collect();
            match own.is_empty() {
                true => self.groups[parent].cells.clone().collect(),
                false => own,
            }
        };
        silent(self.anchor_rows(&cell.agent).collect())
            || group.parents.iter().any(|&p| silent(parent_rows(p)))
    }

    /// Tells of agents that are cut off from all their anchors, or no longer.
    fn tell_cut_off(&mut self, raw: &[State], now: Wall) {
        for name in self.names.clone() {
            let told = self.agents.get(&name).and_then(|agent| agent.cut_off);
            let cut_off = self.is_cut_off(&name, raw);
            let answers = |i| matches!(raw[i], State::Up | State::Slow);
            let answers = self.anchor_rows(&name).any(answers);
            let none = self.anchor_rows(&name).next().is_none();
            let (cut_off, kind, text) = match told {
                None if cut_off => {
                    let rows = self.anchor_rows(&name);
                    let anchors: Vec<&str> =
                        rows.map(|i| self.cells[i].target.name.as_str()).collect();
                    (
                        Some(now),
                        EventKind::CutOff,
                        link::lost_uplink(&name, &anchors),
                    )
                }
                Some(since) if answers || none => {
                    let after = age_text(now.since(since));
                    let text = format!("agent {name} has its uplink again after {after}");
                    (None, EventKind::Rejoined, text)
                }
                _ => continue,
            };
            if let Some(agent) = self.agents.get_mut(&name) {
                agent.cut_off = cut_off;
                agent.turned = Some(now);
            }
            self.push_event(now, kind, text, None, Some(name));
        }
    }

    pub(super) fn push_target_event(&mut self, now: Wall, kind: EventKind, text: String, g: usize) {
        let group = &self.groups[g];
        let agent = &self.cells[group.cells.start].agent;
        let agent = (group.cells.len() == 1).then(|| agent.clone());
        let text = match group.quiet {
            Some(cause) => format!("{text} ({})", cause.as_str()),
            None => text,
        };
        self.push_event(now, kind, text, Some(self.targets[g].clone()), agent);
    }

    /// What to tell of a target's news: the kind, and a line.
    pub(super) fn story(
        &self,
        g: usize,
        rows: &[State],
        state: State,
        news: News,
    ) -> (EventKind, String) {
        let target = &self.targets[g];
        let cells = self.groups[g].cells.clone();
        let flap = matches!(news, News::Flapping | News::Steady);
        let agree = |&i: &usize| match news {
            News::Flapping => self.cells[i].flapping(rows[i]),
            News::Steady => true,
            News::Up { .. } => matches!(rows[i], State::Up | State::Slow),
            _ => rows[i] == state,
        };
        let agree: Vec<&Cell> = cells
            .clone()
            .filter(agree)
            .map(|i| &self.cells[i])
            .collect();
        let names: Vec<String> = agree.iter().map(|cell| cell.seen_by()).collect();
        let from = seen_from(&names, cells.len());
        let of = |what: &str| format!("{target} {what} {from}");
        let shown = agree
            .iter()
            .max_by_key(|cell| cell.last.as_ref().map(|last| last.at));
        let last = shown.and_then(|cell| cell.last.as_ref()).filter(|_| !flap);
        match news {
            News::Down => {
                let cause = last.map_or("", |last| &last.text);
                (EventKind::Down, link::with_cause(of("down"), cause))
            }
            News::Slow { outage } => {
                let over = shown.and_then(|cell| cell.rules.slow).map(duration_text);
                let mut text = of("slow");
                if let (Some(last), Some(over)) = (last, over) {
                    text += &format!(": {}, over {over}", latency_text(last.us));
                }
                if let Some(outage) = outage {
                    text += &format!(", after {} down", age_text(outage));
                }
                (EventKind::Slow, text)
            }
            News::Up { from, after } => {
                let slow = if from == Verdict::Slow { " slow" } else { "" };
                let text = format!("{} after {}{slow}", of("up"), age_text(after));
                (EventKind::Up, text)
            }
            News::Flapping => {
                let percent = agree.iter().map(|cell| cell.flap_percent()).max();
                let percent = percent.unwrap_or_default();
                let what = "of its latest results were changes";
                let text = format!("{}: {percent}% {what}", of("flapping"));
                (EventKind::Flapping, text)
            }
            News::Steady => (EventKind::Steady, of("steady again")),
        }
    }
}

/// `from attic`, `from attic, cellar (2 of 3)`, `from all 3 agents`.
fn seen_from(names: &[String], all: usize) -> String {
    match names {
        [one] if all == 1 => format!("from {one}"),
        names if names.len() == all => format!("from all {all} agents"),
        names => {
            let shown = names[..names.len().min(NAMED_MAX)].join(", ");
            let more = match names.len().saturating_sub(NAMED_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("from {shown}{more} ({} of {all})", names.len())
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
