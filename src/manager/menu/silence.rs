//! Silencing targets and lifting silences: the table of what is left alone now, and the
//! questions.

use super::Running;
use super::ask::{Answer, Choice, Stop, Talk};
use crate::error::Result;
use crate::manager::quiet::{self, NOTE_LEN_MAX, TARGETS_MAX, Which};
use crate::manager::silence::table;
use crate::quiet::Pattern;
use crate::units::duration_text;

#[derive(Debug, Clone, Copy)]
enum Do {
    Add,
    Lift,
    Back,
}

const CHOICES: [Choice<Do>; 3] = [
    ("1", "silence targets", Do::Add),
    ("2", "lift a silence", Do::Lift),
    ("0", "back", Do::Back),
];

/// Shows what is left alone and asks what is to be changed.
pub(super) fn menu(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    talk.show("\n")?;
    match manager.silences() {
        none if none.is_empty() => talk.say("Nothing is silenced.")?,
        open => talk.show(&table(&open))?,
    }
    talk.show("\n")?;
    match talk.choose(&CHOICES, 1, Do::Back)? {
        Do::Add => add(manager, talk),
        Do::Lift => lift(manager, talk),
        Do::Back => Ok(()),
    }
}

fn add(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let fleet = manager.fleet();
    let none = Some((String::new(), Vec::new()));
    let targets = talk.ask("Targets, as in: web, db*", none, |text| {
        let targets = patterns(text)?;
        let stray = targets.iter().find_map(|p| quiet::stray(p, &fleet));
        stray.map_or(Ok(targets), Err)
    })?;
    if targets.is_empty() {
        return Err(Stop::Back);
    }
    let usual = quiet::LASTING_DEFAULT;
    let usual = Some((duration_text(usual), usual));
    let lasting = talk.ask("For how long", usual, quiet::lasting)?;
    let none = Some((String::new(), String::new()));
    let note = talk.ask("Note, may be empty", none, |text| {
        let fits = text.len() <= NOTE_LEN_MAX;
        let expected = || format!("expected at most {NOTE_LEN_MAX} bytes");
        fits.then(|| text.to_string()).ok_or_else(expected)
    })?;
    tell(talk, manager.silence(targets, lasting, &note))
}

fn lift(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let open = manager.silences();
    if open.is_empty() {
        return Err(Stop::Back);
    }
    let none = Some((String::new(), None));
    let no = talk.ask("Number of the silence", none, |text| {
        let no = text.parse().ok();
        match no.filter(|no| open.iter().any(|e| e.no == *no)) {
            Some(no) => Ok(Some(no)),
            None => Err("expected the number of one of these".to_string()),
        }
    })?;
    tell(
        talk,
        manager.unsilence(&Which::Number(no.ok_or(Stop::Back)?)),
    )
}

/// Patterns with commas between them.
fn patterns(text: &str) -> std::result::Result<Vec<Pattern>, String> {
    let parts = text.split(',').map(|part| part.trim().parse());
    let targets = parts.collect::<std::result::Result<Vec<Pattern>, _>>()?;
    match targets.len() <= TARGETS_MAX {
        true => Ok(targets),
        false => Err(format!("expected at most {TARGETS_MAX} of them")),
    }
}

fn tell(talk: &mut Talk<'_>, done: Result<String>) -> Answer<()> {
    match done {
        Ok(text) => text.lines().try_for_each(|line| talk.say(line)),
        Err(error) => {
            talk.list(&[error.to_string()])?;
            Err(Stop::Back)
        }
    }
}
