//! Walking a configuration's objects by tables of keys: every member is visited
//! once, unknown, duplicate and missing keys are reported, and each problem gets
//! its path and position. It knows no key; those stand in `fleet` and `agent`.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::PROBLEMS_MAX;
use crate::json::{Kind, Member, SyntaxError, Value, line_column};
use crate::model::Name;
use crate::text;
use crate::units::{HostPort, parse_duration};

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1; 0 when there is no text to point at.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Such as `targets[3].interval`; empty when it concerns the whole.
    pub path: String,
    /// What is wrong: lower case, no final dot, safe to print.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

impl Problem {
    /// A problem of the whole, without a position.
    pub fn whole(text: String) -> Problem {
        Problem {
            line: 0,
            column: 0,
            path: String::new(),
            text,
        }
    }

    /// Why `source` could not be read further.
    pub fn syntax(source: &[u8], error: &SyntaxError) -> Problem {
        let (line, column) = line_column(source, error.at);
        Problem {
            line,
            column,
            ..Problem::whole(error.to_string())
        }
    }
}

/// The problems found so far: the first [`PROBLEMS_MAX`] by position and a count of the others.
#[derive(Debug, Default)]
pub struct Problems {
    kept: Vec<(usize, Problem)>,
    more: usize,
    /// Once problems had to be let go: where the kept ones end.
    cut: Option<usize>,
}

impl Problems {
    /// Adds a problem at byte `at`. Its text is made only if it is kept.
    pub fn add(&mut self, at: usize, path: &Path<'_>, text: impl FnOnce() -> String) {
        if self.cut.is_some_and(|cut| at >= cut) {
            self.more += 1;
            return;
        }
        let problem = Problem {
            path: path.to_string(),
            ..Problem::whole(text())
        };
        self.kept.push((at, problem));
        if self.kept.len() >= 2 * PROBLEMS_MAX {
            self.shorten();
            self.cut = self.kept.last().map(|(at, _)| *at);
        }
    }

    fn shorten(&mut self) {
        self.kept.sort_by_key(|(at, _)| *at);
        self.more += self.kept.len().saturating_sub(PROBLEMS_MAX);
        self.kept.truncate(PROBLEMS_MAX);
    }

    /// `value`, or the problems in the order of `text` if there are any.
    pub fn verdict<T>(mut self, text: &[u8], value: T) -> Result<T, Vec<Problem>> {
        self.shorten();
        if self.kept.is_empty() {
            return Ok(value);
        }
        let mut list = Vec::with_capacity(self.kept.len() + 1);
        let (mut line, mut column, mut done) = (1, 1, 0);
        for (at, problem) in self.kept {
            // Counted on from the problem before: one pass over the text in all.
            let (lines, columns) = line_column(&text[done..], at - done);
            column = if lines > 1 {
                columns
            } else {
                column + columns - 1
            };
            line += lines - 1;
            done = at;
            list.push(Problem {
                line,
                column,
                ..problem
            });
        }
        match self.more {
            0 => {}
            1 => list.push(Problem::whole("1 more problem is not listed".to_string())),
            more => list.push(Problem::whole(format!(
                "{more} more problems are not listed"
            ))),
        }
        Err(list)
    }
}

/// Where a value lies, linked to its parent on the stack: text is made only for problems.
#[derive(Debug, Clone, Copy)]
pub enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    /// The index of the innermost list item that this lies in.
    pub fn index(&self) -> usize {
        match self {
            Path::Root => 0,
            Path::Key(parent, _) => parent.index(),
            Path::Index(_, index) => *index,
        }
    }
}

/// Whether an object may lack a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
}

/// What stands in an item until its own name and address are read. It never gets
/// out: an item that keeps them has a problem, and then no model is returned.
pub static BLANK: LazyLock<(Name, HostPort)> = LazyLock::new(|| {
    let name = "blank".parse().expect("a valid name");
    (name, "blank:1".parse().expect("a valid address"))
});

/// One key of an object that describes a `T`: the entry that a new key needs.
pub struct Key<T> {
    pub name: &'static str,
    pub presence: Presence,
    /// Puts the value into the item, or reports why it cannot.
    pub read: fn(&mut T, &mut Spot<'_, '_>),
    /// The value as JSON; `None` leaves the key out.
    pub write: fn(&T) -> Option<String>,
}

/// Values that must differ, each with the index of the list item that had it first.
/// In order, so that of two likely spellings the same one is always suggested.
pub type Seen = BTreeMap<Arc<str>, usize>;

/// What reading has found so far and later values are checked against.
#[derive(Debug, Default)]
pub struct Notes {
    pub problems: Problems,
    pub agents: Seen,
    pub agent_addresses: Seen,
    pub targets: Seen,
    pub alerts: Seen,
    pub exports: Seen,
    /// Whether `agents` could not be read as a list, so that a missing name means nothing.
    pub agents_unreadable: bool,
    /// The same of `targets`.
    pub targets_unreadable: bool,
    /// Agents beyond loopback without a key of their own: where their addresses stand,
    /// their indices and addresses.
    pub without_key: Vec<(usize, usize, HostPort)>,
    /// Whether `defaults` have a key, or at least try to.
    pub key_by_default: bool,
    /// The interval of a target that gives none; `None` when `defaults` could not be read.
    pub interval: Option<Duration>,
}

/// A value being read, with its path and the place to report problems.
pub struct Spot<'s, 'v> {
    pub value: &'s Value<'v>,
    pub path: Path<'s>,
    pub notes: &'s mut Notes,
}

impl<'v> Spot<'_, 'v> {
    /// Reports a problem of this value.
    pub fn problem(&mut self, text: impl FnOnce() -> String) {
        self.notes.problems.add(self.value.at, &self.path, text);
    }

    /// Reports what was expected and what is here instead.
    pub fn unexpected(&mut self, expected: &str) {
        let value = self.value;
        self.problem(|| format!("{expected}, found {}", value.brief()));
    }

    /// Reads this object's members into `item`. Returns whether it is an object.
    pub fn object<T>(&mut self, item: &mut T, keys: &[Key<T>]) -> bool {
        let value = self.value;
        let Some(members) = value.object() else {
            self.unexpected("expected an object");
            return false;
        };
        let mut found = vec![None; keys.len()];
        for member in members {
            match keys.iter().position(|key| key.name == member.key) {
                None => self.unknown(member, keys),
                Some(i) if found[i].is_some() => {
                    let path = Path::Key(&self.path, keys[i].name);
                    let text = || "this key is given twice; remove one".to_string();
                    self.notes.problems.add(member.at, &path, text);
                }
                Some(i) => found[i] = Some(member),
            }
        }
        for (key, member) in keys.iter().zip(found) {
            match member {
                Some(member) => (key.read)(item, &mut self.below(key.name, &member.value)),
                None if key.presence == Presence::Required => {
                    self.problem(|| format!("\"{}\" is missing", key.name));
                }
                None => {}
            }
        }
        true
    }

    /// Reads the items of this list of at most `len_max`; `None` when it is no list.
    pub fn list<T>(
        &mut self,
        len_max: usize,
        mut each: impl FnMut(&mut Spot<'_, 'v>) -> T,
    ) -> Option<Vec<T>> {
        let value = self.value;
        let Some(items) = value.array() else {
            self.unexpected("expected a list");
            return None;
        };
        if items.len() > len_max {
            self.problem(|| format!("expected at most {len_max} entries, found {}", items.len()));
        }
        let mut list = Vec::with_capacity(items.len().min(len_max));
        for (index, value) in items.iter().enumerate() {
            list.push(each(&mut Spot {
                value,
                path: Path::Index(&self.path, index),
                notes: self.notes,
            }));
        }
        Some(list)
    }

    /// Reads the items of this list as [`Spot::list`] does, without those that could not
    /// be read; a text that stands there twice is a problem. `what` an item is: one word.
    pub fn each_once<T>(
        &mut self,
        len_max: usize,
        what: &str,
        mut each: impl FnMut(&mut Spot<'_, 'v>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut seen = HashSet::new();
        let list = self.list(len_max, |spot| {
            let item = each(spot)?;
            let value = spot.value;
            if value
                .str()
                .is_some_and(|text| !seen.insert(text.to_string()))
            {
                spot.problem(|| format!("{what} {} is listed twice", value.brief()));
            }
            Some(item)
        })?;
        Some(list.into_iter().flatten().collect())
    }

    /// Which of these words this is. `what` a word is, and which are `expected`, is for people.
    pub fn word(&mut self, what: &str, words: &[&str], expected: &str) -> Option<usize> {
        let text = self.value.str();
        let found = words.iter().position(|word| Some(*word) == text);
        match text.and_then(|text| text::nearest(text, words.iter().copied())) {
            _ if found.is_some() => {}
            Some(near) => {
                let found = self.value.brief();
                self.problem(|| format!("unknown {what} {found}; did you mean \"{near}\"?"));
            }
            None => self.unexpected(&format!("expected {expected}")),
        }
        found
    }

    /// Reports a list without items, and why that is wrong.
    pub fn not_empty(&mut self, why: &str) {
        if self.value.array().is_some_and(|items| items.is_empty()) {
            self.problem(|| why.to_string());
        }
    }

    /// The value of a member of this object.
    pub fn below<'c>(&'c mut self, key: &'c str, value: &'c Value<'v>) -> Spot<'c, 'v> {
        Spot {
            value,
            path: Path::Key(&self.path, key),
            notes: self.notes,
        }
    }

    /// This valid name.
    pub fn name(&mut self) -> Option<Name> {
        self.string("a name in quotes", str::parse)
    }

    /// This valid address.
    pub fn address(&mut self) -> Option<HostPort> {
        self.string("HOST:PORT in quotes", str::parse)
    }

    /// What `parse` makes of this string. `expected` names what else it may be for
    /// a value that is no string; the errors of `parse` start with "expected", too.
    pub fn string<T>(
        &mut self,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value;
        let outcome = match value.str() {
            Some(text) => parse(text),
            None => Err(format!("expected {expected}")),
        };
        outcome.map_err(|text| self.unexpected(&text)).ok()
    }

    /// This duration, if it passes `check`.
    pub fn duration(
        &mut self,
        check: impl FnOnce(Duration) -> Result<Duration, String>,
    ) -> Option<Duration> {
        self.string("a duration such as \"10s\"", |text| {
            check(parse_duration(text)?)
        })
    }

    /// This `true` or `false`.
    pub fn bool(&mut self) -> Option<bool> {
        let value = self.value.bool();
        if value.is_none() {
            self.unexpected("expected true or false");
        }
        value
    }

    /// This whole number, if it passes `check`, which gets `None` for anything else.
    pub fn number<T>(&mut self, check: impl FnOnce(Option<u64>) -> Result<T, String>) -> Option<T> {
        let value = self.value;
        check(value.u64())
            .map_err(|text| self.unexpected(&text))
            .ok()
    }

    /// Notes that the current item of `list` has `text` here; a problem when another has it already.
    pub fn unique(&mut self, list: &str, seen: fn(&mut Notes) -> &mut Seen, text: Arc<str>) {
        let index = self.path.index();
        match seen(self.notes).entry(text) {
            Entry::Vacant(free) => {
                free.insert(index);
            }
            Entry::Occupied(first) => {
                let (first, value) = (*first.get(), self.value);
                self.problem(|| format!("{list}[{first}] has {} already", value.brief()));
            }
        }
    }

    fn unknown<T>(&mut self, member: &Member<'v>, keys: &[Key<T>]) {
        let text = || {
            let names = keys.iter().map(|key| key.name);
            let found = quoted(&member.key);
            match text::nearest(&member.key, names.clone()) {
                Some(name) => format!("unknown key {found}; did you mean \"{name}\"?"),
                None => {
                    let names: Vec<&str> = names.collect();
                    format!(
                        "unknown key {found}; the keys here are {}",
                        names.join(", ")
                    )
                }
            }
        };
        self.notes.problems.add(member.at, &self.path, text);
    }
}

/// A text without the byte order mark that it may start with: positions do not count it.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// `text` and the likely spelling among these, if there is one.
pub fn with_hint<'a>(
    text: String,
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> String {
    match text::nearest(word, candidates) {
        Some(near) => format!("{text}; did you mean \"{near}\"?"),
        None => text,
    }
}

/// `text` in quotes as problems show it: escaped, and cut when long.
pub fn quoted(text: &str) -> String {
    let kind = Kind::String(text.into());
    Value { at: 0, kind }.brief()
}
