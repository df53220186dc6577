//! What is so of targets and agents, as far as anyone may be alerted of it.
//!
//! A target's fact is what was told of it, so whatever is held back or unreachable changes
//! nothing here; what nobody knows is no fact.

use std::time::Duration;

use super::settle::Voices;
use super::{Agent, Board, State, link};
use crate::alert::{AlertEvent, On, Subject, Voice};
use crate::health::Verdict;
use crate::manager::quiet::Cause;
use crate::model::{Name, Wall};
use crate::standing::News;
use crate::units::age_text;

/// An agent that was never reached since the start is away after this time.
const AWAY_AFTER: Duration = Duration::from_secs(60);

/// How something is, in the order of how much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    Down,
    /// An agent cannot be reached.
    Away,
    /// All of an agent's anchors are down.
    CutOff,
    /// An agent cannot store results, or has refused its configuration.
    Trouble,
    Flapping,
    Slow,
    /// Nothing is the matter.
    Fine,
    /// It is not in the fleet any more.
    Gone,
}

impl Condition {
    const ALL: [(Condition, &'static str); 8] = [
        (Condition::Down, "down"),
        (Condition::Away, "away"),
        (Condition::CutOff, "cut off"),
        (Condition::Trouble, "trouble"),
        (Condition::Flapping, "flapping"),
        (Condition::Slow, "slow"),
        (Condition::Fine, "fine"),
        (Condition::Gone, "gone"),
    ];

    /// The word for it in files.
    pub fn as_str(self) -> &'static str {
        Condition::ALL[self as usize].1
    }

    /// What a word stands for.
    pub fn from_word(word: &str) -> Option<Condition> {
        let all = Condition::ALL.iter();
        all.copied().find(|(_, w)| *w == word).map(|(c, _)| c)
    }

    /// What people call it: what is fine is `up` or `connected`.
    pub fn word(self, subject: &Subject) -> &'static str {
        match (self, subject) {
            (Condition::Fine, Subject::Target(_)) => "up",
            (Condition::Fine, Subject::Agent(_)) => "connected",
            _ => self.as_str(),
        }
    }

    /// What to ask for to hear of it, when it follows `was`.
    pub fn on(self, was: Condition, subject: &Subject) -> On {
        match (subject, self) {
            (Subject::Agent(_), _) => On::Agent,
            (_, Condition::Down) => On::Down,
            (_, Condition::Slow) => On::Slow,
            (_, Condition::Flapping) => On::Flapping,
            _ if was == Condition::Flapping => On::Flapping,
            _ => On::Up,
        }
    }
}

/// How something is, since when, and whether nobody is to be alerted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    pub condition: Condition,
    pub since: Wall,
    pub quiet: Option<Cause>,
}

/// Where facts come from.
pub trait Facts {
    /// How something is; `None` when nobody knows.
    fn fact(&self, subject: &Subject) -> Option<Fact>;
    /// All that is known to be other than fine.
    fn unwell(&self) -> Vec<Subject>;
    /// The event that tells how something is, and how it was and since when.
    fn event(&self, subject: &Subject, was: (Condition, Wall), is: Fact) -> AlertEvent;
}

/// A look at the board at one moment; who says what is worked out once.
pub struct Look<'b> {
    board: &'b Board,
    now: Wall,
    voices: Voices,
}

impl<'b> Look<'b> {
    /// Looks at the board as it is now.
    pub fn new(board: &'b Board, now: Wall) -> Look<'b> {
        let voices = board.voices(now);
        Look { board, now, voices }
    }

    fn target_fact(&self, g: usize) -> Option<Fact> {
        let group = &self.board.groups[g];
        let known = matches!(
            self.voices.verdicts[g],
            State::Up | State::Slow | State::Down
        );
        let (told, since) = group.standing.confirmed().filter(|_| known)?;
        let condition = match told.verdict {
            _ if told.flapping => Condition::Flapping,
            Verdict::Down => Condition::Down,
            Verdict::Slow => Condition::Slow,
            Verdict::Up => Condition::Fine,
        };
        Some(Fact {
            condition,
            since,
            quiet: group.quiet,
        })
    }

    fn agent_fact(&self, name: &Name) -> Option<Fact> {
        let board = self.board;
        let fact = board.agents[name].fact(self.now)?;
        let anchors = || board.anchor_rows(name);
        match fact.condition {
            // Whether it still is cut off nobody knows until it says something of an anchor.
            Condition::CutOff | Condition::Fine
                if anchors().next().is_some() && !anchors().any(|i| board.cells[i].heard()) =>
            {
                None
            }
            Condition::CutOff => {
                let of = |i: usize| board.group_named(&board.cells[i].target.name);
                let quiet = |i: usize| of(i).and_then(|g| board.groups[g].quiet);
                let all = anchors().all(|i| quiet(i).is_some());
                let first = anchors().next().and_then(quiet);
                Some(Fact {
                    quiet: first.filter(|_| all),
                    ..fact
                })
            }
            _ => Some(fact),
        }
    }
}

impl Facts for Look<'_> {
    fn fact(&self, subject: &Subject) -> Option<Fact> {
        let gone = Fact {
            condition: Condition::Gone,
            since: self.now,
            quiet: None,
        };
        match subject {
            Subject::Target(name) => match self.board.group_named(name) {
                Some(group) => self.target_fact(group),
                None => Some(gone),
            },
            Subject::Agent(name) => match self.board.agents.contains_key(name) {
                true => self.agent_fact(name),
                false => Some(gone),
            },
        }
    }

    fn unwell(&self) -> Vec<Subject> {
        let unwell = |fact: Option<Fact>| fact.is_some_and(|f| f.condition != Condition::Fine);
        let board = self.board;
        let groups = (0..board.groups.len()).filter(|&g| unwell(self.target_fact(g)));
        let targets = groups.map(|g| Subject::Target(board.targets[g].clone()));
        let agents = board.names.iter();
        let agents = agents.filter(|name| unwell(self.agent_fact(name)));
        targets.chain(agents.cloned().map(Subject::Agent)).collect()
    }

    fn event(&self, subject: &Subject, was: (Condition, Wall), is: Fact) -> AlertEvent {
        let (condition, since) = (is.condition, is.since);
        let lasted = since.since(was.1);
        let over = !matches!(was.0, Condition::Fine | Condition::Gone);
        let over = over && condition != was.0;
        let mut event = AlertEvent {
            on: condition.on(was.0, subject),
            subject: subject.clone(),
            address: None,
            state: condition.word(subject).to_string(),
            was: was.0.word(subject).to_string(),
            since,
            lasted: over.then_some(lasted),
            why: None,
            text: String::new(),
            voices: Vec::new(),
        };
        let (Subject::Target(name) | Subject::Agent(name)) = subject;
        if condition == Condition::Gone {
            event.text = format!("{name} is not watched any more");
            return event;
        }
        match subject {
            Subject::Agent(name) => {
                event.text = self.board.agent_text(name, was.0, condition, lasted);
            }
            Subject::Target(name) => {
                if let Some(group) = self.board.group_named(name) {
                    let change = (was.0, condition);
                    self.board
                        .describe(&mut event, group, change, &self.voices.rows);
                }
            }
        }
        event
    }
}

impl Board {
    /// The event that tells of an outage that is over, as one row knows it.
    pub(super) fn late_event(
        &self,
        group: usize,
        agent: &Name,
        text: String,
        (began, ended): (Wall, Wall),
    ) -> AlertEvent {
        let voice = Voice {
            agent: agent.clone(),
            state: State::Down.to_string(),
            why: None,
        };
        AlertEvent {
            on: On::Down,
            subject: Subject::Target(self.targets[group].clone()),
            address: self.groups[group].address.clone(),
            state: State::Up.to_string(),
            was: State::Down.to_string(),
            since: ended,
            lasted: Some(ended.since(began)),
            why: None,
            text,
            voices: vec![voice],
        }
    }

    /// What is told of a target: the line, where it is, and who sees what.
    fn describe(
        &self,
        event: &mut AlertEvent,
        g: usize,
        (was, is): (Condition, Condition),
        rows: &[State],
    ) {
        let after = event.lasted;
        let up_from = |from| News::Up {
            from,
            after: after.unwrap_or_default(),
        };
        let news = match (was, is) {
            (_, Condition::Down) => News::Down,
            (Condition::Down, Condition::Slow) => News::Slow { outage: after },
            (_, Condition::Slow) => News::Slow { outage: None },
            (_, Condition::Flapping) => News::Flapping,
            (Condition::Flapping, _) => News::Steady,
            (Condition::Slow, _) => up_from(Verdict::Slow),
            _ => up_from(Verdict::Down),
        };
        let state = match is {
            Condition::Down => State::Down,
            Condition::Slow => State::Slow,
            _ => State::Up,
        };
        event.text = self.story(g, rows, state, news).1;
        let cells = self.groups[g].cells.clone();
        let last = |i: usize| self.cells[i].last.as_ref();
        event.address = self.groups[g].address.clone();
        event.voices = cells
            .clone()
            .map(|i| Voice {
                agent: self.cells[i].agent.clone(),
                state: rows[i].to_string(),
                why: last(i).and_then(|last| last.why),
            })
            .collect();
        let failing = cells.filter(|&i| is == Condition::Down && rows[i] == State::Down);
        let latest = failing.max_by_key(|&i| last(i).map(|last| last.at));
        event.why = latest.and_then(last).and_then(|last| last.why);
    }

    fn agent_text(&self, name: &Name, was: Condition, is: Condition, lasted: Duration) -> String {
        let agent = self.agents.get(name);
        let link = agent.and_then(|agent| agent.link.as_ref());
        match is {
            Condition::Away => {
                let cause = link.map_or("", |link| &link.text);
                link::with_cause(format!("agent {name} away"), cause)
            }
            Condition::CutOff => {
                let anchors = agent.map(|agent| agent.anchors.as_slice());
                let anchors = anchors.unwrap_or_default().iter();
                let anchors: Vec<&str> = anchors.map(Name::as_str).collect();
                link::lost_uplink(name, &anchors)
            }
            Condition::Trouble => {
                let trouble = link.and_then(trouble).unwrap_or_default();
                format!("agent {name} {trouble}")
            }
            _ => {
                let again = match was {
                    Condition::Away => "connected again",
                    Condition::CutOff => "has its uplink again",
                    _ => "well again",
                };
                format!("agent {name} {again} after {}", age_text(lasted))
            }
        }
    }
}

/// What keeps an agent from doing its work.
fn trouble(link: &link::Link) -> Option<String> {
    match (&link.rejected, link.spool.as_str()) {
        (_, spool) if !spool.is_empty() => Some(format!("cannot store results: {spool}")),
        (Some(reason), _) => Some(format!("rejected its configuration: {reason}")),
        (None, _) => None,
    }
}

impl Agent {
    fn fact(&self, now: Wall) -> Option<Fact> {
        let link = self.link.as_ref()?;
        let long = now.since(link.since) >= AWAY_AFTER;
        let fact = |condition, since| Fact {
            condition,
            since,
            quiet: None,
        };
        if !link.connected {
            let away = self.is_told_away() || long;
            return away.then(|| fact(Condition::Away, link.since));
        }
        Some(match (self.cut_off, trouble(link)) {
            (Some(since), _) => fact(Condition::CutOff, since),
            (None, Some(_)) => fact(Condition::Trouble, self.turned.unwrap_or(now)),
            (None, None) => fact(
                Condition::Fine,
                self.turned.max(Some(link.since)).unwrap_or(now),
            ),
        })
    }

    /// Notes when it has come into trouble, or out of it.
    pub(super) fn note_trouble(&mut self, new: &link::Link, now: Wall) {
        let before = self
            .link
            .as_ref()
            .is_some_and(|link| trouble(link).is_some());
        if before != trouble(new).is_some() {
            self.turned = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;
