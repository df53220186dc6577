//! One receiver of alerts: what it was told, what waits to be told together, and what
//! waits to be delivered.
//!
//! Pure: facts come in, messages go out, and time is an argument. Messages come from the
//! difference between what is so and what this receiver was told last, so nothing is told
//! twice and a restart forgets nothing: all of it but the waiting is kept on disk. Always:
//! messages about the same thing go out in order, and each is delivered, or counted as
//! dropped and named.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::alert::{AlertEvent, AlertRule, Message, Occasion, On, Subject};
use crate::json::{self, Value};
use crate::manager::board::{Condition, Fact, Facts};
use crate::model::{Name, Wall};
use crate::units::count_text;

/// Messages that wait; beyond, the oldest is dropped.
pub const QUEUE_MAX: usize = 1_000;
/// And their bytes together.
pub const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
const OVERFLOW: &str = "too many waited";
/// How long a message is tried.
pub const TRIED_FOR: Duration = Duration::from_secs(24 * 3600);
/// And how often at least: a clock that was set forward gives nothing up.
const TRIES_MIN: u32 = 3;
/// The first rest after a failed try; it doubles up to the longest.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// Deliveries that are remembered for people.
pub const LOG_MAX: usize = 20;

/// What a receiver was told of something that is not fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Announced {
    condition: Condition,
    since: Wall,
    /// When it was told last.
    told: Wall,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Queued {
    message: Message,
    /// Its line, as it is kept on disk.
    line: Box<str>,
    tries: u32,
    next_at: Wall,
    /// Its number among those of this process; up to `kept` they are on disk.
    no: u64,
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// So far; the last error.
    Failed(String),
    /// It is not tried any more; why.
    Dropped(String),
}

/// A delivery, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When it was tried last.
    pub at: Wall,
    pub id: String,
    /// What it said, in a line.
    pub subject: String,
    pub tries: u32,
    pub outcome: Outcome,
}

/// See the module text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    rule: AlertRule,
    announced: BTreeMap<Subject, Announced>,
    waiting_since: Option<Wall>,
    queue: VecDeque<Queued>,
    delivered: u64,
    dropped: u64,
    /// Those of the dropped that too many waited for, and nobody was told of.
    overflowed: u64,
    /// The latest last.
    log: VecDeque<Delivery>,
    /// There is more than what was last given out to be kept.
    changed: bool,
    /// The number of the latest message, and of the latest one that is on disk.
    numbered: u64,
    kept: u64,
}

/// Something that differs from what was told.
struct Difference {
    subject: Subject,
    was: (Condition, Wall),
    is: Fact,
    on: On,
}

impl Receiver {
    /// A receiver that was told nothing yet.
    pub fn new(rule: AlertRule) -> Receiver {
        Receiver {
            rule,
            announced: BTreeMap::new(),
            waiting_since: None,
            queue: VecDeque::new(),
            delivered: 0,
            dropped: 0,
            overflowed: 0,
            log: VecDeque::new(),
            changed: false,
            numbered: 0,
            kept: 0,
        }
    }

    /// What it is to be told, and how.
    pub fn rule(&self) -> &AlertRule {
        &self.rule
    }

    /// Changes that; what waits goes out by the new rule.
    pub fn set_rule(&mut self, rule: AlertRule) {
        self.rule = rule;
    }

    /// Messages that wait to be delivered.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Messages delivered, and given up, since there are such counts.
    pub fn counts(&self) -> (u64, u64) {
        (self.delivered, self.dropped)
    }

    /// The latest deliveries, the latest last.
    pub fn log(&self) -> impl Iterator<Item = &Delivery> {
        self.log.iter()
    }

    /// Compares what is so with what was told. Puts what has differed for `group_wait` into
    /// the queue, and reminders that are due.
    pub fn observe(
        &mut self,
        facts: &impl Facts,
        manager: &Name,
        now: Wall,
        mut fresh_id: impl FnMut() -> String,
    ) {
        let differences = self.differences(facts);
        if differences.is_empty() {
            self.waiting_since = None;
            return self.remind(facts, manager, now, fresh_id);
        }
        // A clock that was set back starts the wait anew.
        let since = self.waiting_since.map_or(now, |since| since.min(now));
        self.waiting_since = Some(since);
        if now.since(since) < self.rule.group_wait {
            return self.remind(facts, manager, now, fresh_id);
        }
        self.waiting_since = None;
        let mut events = Vec::new();
        for Difference {
            subject,
            was,
            is,
            on,
        } in differences
        {
            if self.rule.on.contains(&on) {
                events.push((is.condition, facts.event(&subject, was, is)));
            }
            match is.condition {
                Condition::Fine | Condition::Gone => self.announced.remove(&subject),
                condition => self.announced.insert(
                    subject,
                    Announced {
                        condition,
                        since: is.since,
                        told: now,
                    },
                ),
            };
        }
        self.send(events, Occasion::News, manager, now, fresh_id());
        self.changed = true;
    }

    /// Until when it waits for what belongs together.
    pub fn waits_until(&self) -> Option<Wall> {
        let since = self.waiting_since;
        since.map(|since| since.after(self.rule.group_wait))
    }

    /// Tells of outages that were over before they were known, if that was asked for.
    pub fn late(&mut self, events: &[AlertEvent], manager: &Name, now: Wall, id: String) {
        if !self.rule.late || !self.rule.on.contains(&On::Down) {
            return;
        }
        let covered = events.iter().filter(|event| match &event.subject {
            Subject::Target(name) => self.covers(name),
            Subject::Agent(_) => false,
        });
        let events = covered
            .map(|event| (Condition::Fine, event.clone()))
            .collect();
        self.send(events, Occasion::Late, manager, now, id);
    }

    fn covers(&self, target: &Name) -> bool {
        let mut targets = self.rule.targets.iter();
        targets.any(|pattern| pattern.matches(target.as_str()))
    }

    /// Whether it is told of this at all.
    fn concerns(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Target(name) => self.covers(name),
            Subject::Agent(_) => self.rule.on.contains(&On::Agent),
        }
    }

    fn differences(&self, facts: &impl Facts) -> Vec<Difference> {
        let unwell = facts.unwell().into_iter();
        let mut subjects: Vec<Subject> = unwell.filter(|s| self.concerns(s)).collect();
        subjects.extend(self.announced.keys().cloned());
        subjects.sort();
        subjects.dedup();
        let difference = |subject| self.difference(facts, subject);
        subjects.into_iter().filter_map(difference).collect()
    }

    fn difference(&self, facts: &impl Facts, subject: Subject) -> Option<Difference> {
        let mut is = facts.fact(&subject).filter(|fact| fact.quiet.is_none())?;
        // Who does not want to hear of something takes it for what is nearest to it.
        let wants = |on| self.rule.on.contains(&on);
        match is.condition {
            _ if !self.concerns(&subject) => is.condition = Condition::Gone,
            Condition::Slow if !wants(On::Slow) => is.condition = Condition::Fine,
            Condition::Flapping if !wants(On::Flapping) => return None,
            _ => {}
        }
        let announced = self.announced.get(&subject);
        let was = announced.map_or((Condition::Fine, is.since), |a| (a.condition, a.since));
        if is.condition == was.0 || (announced.is_none() && is.condition == Condition::Gone) {
            return None;
        }
        let on = is.condition.on(was.0, &subject);
        Some(Difference {
            subject,
            was,
            is,
            on,
        })
    }

    /// Tells again what lasts.
    fn remind(
        &mut self,
        facts: &impl Facts,
        manager: &Name,
        now: Wall,
        mut fresh_id: impl FnMut() -> String,
    ) {
        let Some(repeat) = self.rule.repeat else {
            return;
        };
        let mut events = Vec::new();
        for (subject, announced) in &mut self.announced {
            announced.told = announced.told.min(now);
            if now.since(announced.told) < repeat {
                continue;
            }
            let fact = facts.fact(subject).filter(|fact| fact.quiet.is_none());
            let was = (announced.condition, announced.since);
            let on = announced.condition.on(Condition::Fine, subject);
            let lasts = fact.filter(|f| f.condition == was.0 && self.rule.on.contains(&on));
            if let Some(fact) = lasts {
                announced.told = now;
                events.push((was.0, facts.event(subject, was, fact)));
            }
        }
        // One that still waits and says only what this one says again is of no use.
        let again: BTreeSet<&Subject> = events.iter().map(|(_, event)| &event.subject).collect();
        self.queue.retain(|queued| {
            let mut said = queued.message.events.iter();
            queued.message.occasion != Occasion::Reminder
                || said.any(|event| !again.contains(&event.subject))
        });
        self.send(events, Occasion::Reminder, manager, now, fresh_id());
    }

    /// Queues a message, what matters most first; nothing for no events.
    fn send(
        &mut self,
        mut events: Vec<(Condition, AlertEvent)>,
        occasion: Occasion,
        manager: &Name,
        now: Wall,
        id: String,
    ) {
        if events.is_empty() {
            return;
        }
        events.sort_by_key(|(condition, _)| *condition);
        self.changed = true;
        self.numbered += 1;
        let message = Message {
            id,
            at: now,
            alert: self.rule.name.clone(),
            manager: manager.clone(),
            occasion,
            events: events.into_iter().map(|(_, event)| event).collect(),
        };
        self.queue.push_back(Queued {
            line: message.json().into(),
            message,
            tries: 0,
            next_at: now,
            no: self.numbered,
        });
        let bytes = |queue: &VecDeque<Queued>| queue.iter().map(|q| q.line.len()).sum::<usize>();
        while self.queue.len() > QUEUE_MAX
            || (self.queue.len() > 1 && bytes(&self.queue) > QUEUE_BYTES_MAX)
        {
            self.drop_at(0, OVERFLOW.to_string(), now);
            self.overflowed += 1;
        }
    }

    /// What is to be told of messages that were given up because too many waited.
    pub fn overflow(&mut self) -> Option<String> {
        let messages = match std::mem::take(&mut self.overflowed) {
            0 => return None,
            1 => "a message".to_string(),
            more => format!("{} messages", count_text(more)),
        };
        let name = &self.rule.name;
        Some(format!(
            "alert {name}: gave up on {messages}, the oldest: {OVERFLOW}"
        ))
    }

    /// Whether there is something new to be kept on disk.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// What is to be kept on disk now, if that has changed, and the number of the latest
    /// message in it, for [`Receiver::kept`].
    pub fn to_keep(&mut self) -> Option<(String, u64)> {
        let changed = std::mem::take(&mut self.changed);
        changed.then(|| (self.json(), self.numbered))
    }

    /// The messages up to this number are on disk, or could not be put there.
    pub fn kept(&mut self, no: u64) {
        self.kept = no;
    }

    /// What was to be kept could not be, and is to be tried again.
    pub fn not_kept(&mut self) {
        self.changed = true;
    }

    /// The messages on disk that no other about the same thing waits before.
    fn free(&self) -> impl Iterator<Item = &Queued> {
        let mut waiting: BTreeSet<&Subject> = BTreeSet::new();
        let kept = self.queue.iter().take_while(|q| q.no <= self.kept);
        kept.filter(move |queued| {
            let subjects = queued.message.events.iter().map(|event| &event.subject);
            let free = !subjects.clone().any(|subject| waiting.contains(subject));
            waiting.extend(subjects);
            free
        })
    }

    /// The message to deliver now.
    pub fn due(&self, now: Wall) -> Option<&Message> {
        // Further ahead than any rest is: the clock was set back.
        let rested = |q: &&Queued| q.next_at <= now || q.next_at > now.after(RETRY_MAX);
        self.free().find(rested).map(|queued| &queued.message)
    }

    /// When there is something to deliver, if nothing else happens.
    pub fn next_at(&self) -> Option<Wall> {
        self.free().map(|queued| queued.next_at).min()
    }

    /// Takes note of how a delivery went. What is to be told of it.
    pub fn tried(&mut self, id: &str, result: Result<(), String>, now: Wall) -> Option<String> {
        let place = self.queue.iter().position(|q| q.message.id == id)?;
        let queued = &mut self.queue[place];
        queued.tries = queued.tries.saturating_add(1);
        self.changed = true;
        let (name, tries) = (self.rule.name.clone(), queued.tries);
        match result {
            Ok(()) => {
                self.delivered += 1;
                self.note(place, Outcome::Delivered, now);
                self.queue.remove(place);
                (tries > 1).then(|| format!("alert {name}: delivered after {tries} tries"))
            }
            Err(text) if tries >= TRIES_MIN && now.since(queued.message.at) >= TRIED_FOR => {
                let why = format!("tried for a day: {text}");
                Some(self.drop_at(place, why, now))
            }
            Err(text) => {
                let doubled = RETRY_MIN * 2u32.pow((tries - 1).min(16));
                queued.next_at = now.after(doubled.min(RETRY_MAX));
                let news = (tries == 1).then(|| format!("alert {name}: {text}"));
                self.note(place, Outcome::Failed(text), now);
                news
            }
        }
    }

    fn drop_at(&mut self, place: usize, why: String, now: Wall) -> String {
        self.dropped += 1;
        self.note(place, Outcome::Dropped(why.clone()), now);
        let gone = self.queue.remove(place);
        let subject = gone.map(|gone| gone.message.subject()).unwrap_or_default();
        format!("alert {}: gave up on \"{subject}\": {why}", self.rule.name)
    }

    /// Notes how a message fares.
    fn note(&mut self, place: usize, outcome: Outcome, now: Wall) {
        let queued = &self.queue[place];
        let delivery = Delivery {
            at: now,
            id: queued.message.id.clone(),
            subject: queued.message.subject(),
            tries: queued.tries,
            outcome,
        };
        self.log.retain(|known| known.id != delivery.id);
        if self.log.len() == LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back(delivery);
    }

    /// What is kept on disk, a newline at its end.
    pub fn json(&self) -> String {
        let mut out = String::new();
        json::object(&mut out, |o| {
            o.array("announced", |a| {
                for (subject, announced) in &self.announced {
                    a.object(|o| {
                        match subject {
                            Subject::Target(name) => o.str("target", name.as_str()),
                            Subject::Agent(name) => o.str("agent", name.as_str()),
                        };
                        o.str("condition", announced.condition.as_str())
                            .u64("since", announced.since.0)
                            .u64("told", announced.told.0);
                    });
                }
            });
            o.array("queue", |a| {
                for queued in &self.queue {
                    a.object(|o| {
                        o.u64("tries", queued.tries.into())
                            .u64("next_at", queued.next_at.0)
                            .raw("message", &queued.line);
                    });
                }
            });
            o.u64("delivered", self.delivered)
                .u64("dropped", self.dropped);
            o.array("log", |a| {
                for delivery in &self.log {
                    a.object(|o| delivery.write(o));
                }
            });
        });
        out + "\n"
    }

    /// Reads what [`Receiver::json`] wrote; `None` for anything else.
    pub fn parse(rule: AlertRule, v: &Value<'_>) -> Option<Receiver> {
        let list = |key| v.get(key).and_then(Value::array);
        let announced = list("announced")?.iter().map(|v| {
            let text = |key| v.get(key).and_then(Value::str);
            let subject = match (text("target"), text("agent")) {
                (Some(name), _) => Subject::Target(name.parse().ok()?),
                (None, name) => Subject::Agent(name?.parse().ok()?),
            };
            let announced = Announced {
                condition: Condition::from_word(text("condition")?)?,
                since: wall(v, "since")?,
                told: wall(v, "told")?,
            };
            Some((subject, announced))
        });
        let queued = list("queue")?.iter().map(|v| {
            let message = Message::parse(v.get("message")?)?;
            Some(Queued {
                line: message.json().into(),
                message,
                tries: u32::try_from(v.get("tries")?.u64()?).ok()?,
                next_at: wall(v, "next_at")?,
                // What was read is on disk.
                no: 0,
            })
        });
        Some(Receiver {
            announced: announced.collect::<Option<_>>()?,
            queue: queued.collect::<Option<_>>()?,
            delivered: v.get("delivered")?.u64()?,
            dropped: v.get("dropped")?.u64()?,
            log: list("log")?
                .iter()
                .map(Delivery::parse)
                .collect::<Option<_>>()?,
            ..Receiver::new(rule)
        })
    }
}

impl Delivery {
    /// Writes it into an object.
    pub fn write(&self, o: &mut json::Object<'_>) {
        o.u64("at", self.at.0)
            .str("id", &self.id)
            .str("subject", &self.subject)
            .u64("tries", self.tries.into());
        match &self.outcome {
            Outcome::Delivered => o.str("outcome", "delivered"),
            Outcome::Failed(text) => o.str("outcome", "failed").str("error", text),
            Outcome::Dropped(text) => o.str("outcome", "dropped").str("error", text),
        };
    }

    fn parse(v: &Value<'_>) -> Option<Delivery> {
        let text = |key| v.get(key).and_then(Value::str).map(str::to_string);
        Some(Delivery {
            at: wall(v, "at")?,
            id: text("id")?,
            subject: text("subject")?,
            tries: u32::try_from(v.get("tries")?.u64()?).ok()?,
            outcome: match text("outcome")?.as_str() {
                "delivered" => Outcome::Delivered,
                "failed" => Outcome::Failed(text("error")?),
                "dropped" => Outcome::Dropped(text("error")?),
                _ => return None,
            },
        })
    }
}

fn wall(v: &Value<'_>, key: &str) -> Option<Wall> {
    v.get(key).and_then(Value::u64).map(Wall)
}

#[cfg(test)]
mod tests;
