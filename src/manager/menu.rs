//! The manager's menu: prompts and lines, the same from a terminal and from a pipe.
//!
//! It asks, checks answers and shows; what is running belongs to whoever is [`Running`].
//! Always: nothing changes before the last answer of a dialogue was given; the end of
//! input, wherever it comes, stops the menu at once and saves nothing.

mod ask;
mod edit;
mod entry;
mod silence;
mod tables;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::alerts;
use super::board::{Board, Snapshot};
use super::core::Core;
use super::live::{self, Leave};
use super::quiet::{self, Entry, Which};
use crate::bell::Bell;
use crate::clock;
use crate::config::{Fleet, KeyRule};
use crate::error::Result;
use crate::files;
use crate::quiet::Pattern;
use crate::term::Lines;

use ask::{Answer, BACK, Choice, Echo, Reply, Stop, Talk};

/// What a fleet file is called unless the person says otherwise.
const FILE_DEFAULT: &str = "fleet.json";

/// The running manager, as far as the menu needs it.
pub trait Running {
    /// What is in force.
    fn fleet(&self) -> Arc<Fleet>;
    /// The file it came from or was saved to.
    fn path(&self) -> Option<PathBuf>;
    /// Whether it differs from that file.
    fn unsaved(&self) -> bool;
    /// Whether links that leave this machine must have keys.
    fn key_rule(&self) -> KeyRule;
    /// Takes over a file, whole; or every problem of it, and nothing has changed.
    fn load(&self, path: &Path) -> std::result::Result<(), Vec<String>>;
    /// Takes over a fleet, whole; or every problem of it, and nothing has changed. Agents
    /// that it concerns show as pending on the board when this returns.
    fn change(&self, fleet: Fleet) -> std::result::Result<(), Vec<String>>;
    /// What is left alone now.
    fn silences(&self) -> Vec<Entry>;
    /// Silences targets from now on; what came of it, in lines.
    fn silence(&self, targets: Vec<Pattern>, lasting: Duration, note: &str) -> Result<String>;
    /// Lifts silences; what came of it, in lines.
    fn unsilence(&self, which: &Which) -> Result<String>;
    /// Writes the fleet to a file, which is then the one it belongs to.
    fn save(&self, path: &Path) -> Result<()>;
    /// Sends a receiver of alerts a test; how that went.
    fn test_alert(&self, name: &str) -> Result<String>;
    /// What happened in the background since this was asked last.
    fn notices(&self) -> Vec<String>;
    /// The status of everything.
    fn board(&self) -> &Mutex<Board>;
    /// Rings when the board has changed.
    fn bell(&self) -> &Bell;
    /// Shows the live view until a person leaves it.
    fn watch(&self, lines: &Lines) -> Leave;
}

impl Running for Arc<Core> {
    fn fleet(&self) -> Arc<Fleet> {
        Core::fleet(self)
    }

    fn path(&self) -> Option<PathBuf> {
        Core::path(self)
    }

    fn unsaved(&self) -> bool {
        Core::unsaved(self)
    }

    fn key_rule(&self) -> KeyRule {
        Core::key_rule(self)
    }

    fn load(&self, path: &Path) -> std::result::Result<(), Vec<String>> {
        Core::load(self, path)
    }

    fn change(&self, fleet: Fleet) -> std::result::Result<(), Vec<String>> {
        Core::change(self, fleet)
    }

    fn silences(&self) -> Vec<Entry> {
        Core::silences(self)
    }

    fn silence(&self, targets: Vec<Pattern>, lasting: Duration, note: &str) -> Result<String> {
        Core::silence(self, targets, quiet::end(clock::wall(), lasting), note)
    }

    fn unsilence(&self, which: &Which) -> Result<String> {
        Core::unsilence(self, which)
    }

    fn test_alert(&self, name: &str) -> Result<String> {
        alerts::command::test(&Core::fleet(self), name, &self.base())
    }

    fn save(&self, path: &Path) -> Result<()> {
        Core::save(self, path)
    }

    fn notices(&self) -> Vec<String> {
        Core::notices(self)
    }

    fn board(&self) -> &Mutex<Board> {
        Core::board(self)
    }

    fn bell(&self) -> &Bell {
        Core::bell(self)
    }

    fn watch(&self, lines: &Lines) -> Leave {
        live::run(Core::board(self), Core::bell(self), lines)
    }
}

#[derive(Debug, Clone, Copy)]
enum Main {
    Configure,
    Edit,
    Watch,
    Exit,
    Again,
}

const MAIN: [Choice<Main>; 4] = [
    ("1", "create or load a configuration", Main::Configure),
    ("2", "view and modify it", Main::Edit),
    ("3", "real-time results", Main::Watch),
    ("4", "exit", Main::Exit),
];

#[derive(Debug, Clone, Copy)]
enum Configure {
    Create,
    Load,
    Back,
}

const CONFIGURE: [Choice<Configure>; 3] = [
    ("1", "create a new one", Configure::Create),
    ("2", "load a file", Configure::Load),
    ("0", "back", Configure::Back),
];

/// Serves a person, or a script of answers on stdin, until they exit or the input ends.
///
/// # Errors
/// The output cannot be written; a pipe whose reader is gone among the reasons.
pub fn run(manager: &dyn Running, lines: &Lines, out: &mut dyn Write) -> io::Result<()> {
    let echo = Echo::of_stdin();
    converse(manager, &mut Talk { lines, out, echo })
}

fn converse(manager: &dyn Running, talk: &mut Talk<'_>) -> io::Result<()> {
    let stop = match main_menu(manager, talk) {
        Err(Stop::End | Stop::Back) => left_unsaved(manager, talk),
        done => done,
    };
    match stop {
        Err(Stop::Out(error)) => Err(error),
        _ => talk.out.flush(),
    }
}

/// Until the person exits.
fn main_menu(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    loop {
        talk.show("\n")?;
        for notice in manager.notices() {
            talk.say(&notice)?;
        }
        talk.say(&summary(manager))?;
        let done = match talk.choose(&MAIN, 1, Main::Again) {
            Ok(Main::Configure) => configure(manager, talk),
            Ok(Main::Edit) => edit::menu(manager, talk),
            Ok(Main::Watch) => watch(manager, talk),
            Ok(Main::Exit) => match exit(manager, talk) {
                Ok(Exit::Leave) => return Ok(()),
                Ok(Exit::Stay) => Ok(()),
                Err(stop) => Err(stop),
            },
            Ok(Main::Again) => Ok(()),
            Err(stop) => Err(stop),
        };
        match done {
            Ok(()) | Err(Stop::Back) => {}
            stop => return stop,
        }
    }
}

fn summary(manager: &dyn Running) -> String {
    let unsaved = match manager.unsaved() {
        true => " (unsaved)",
        false => "",
    };
    let (path, now) = (manager.path(), links(manager));
    tables::summary(&manager.fleet(), path.as_deref(), &now, unsaved)
}

/// The board without its rows.
fn links(manager: &dyn Running) -> Snapshot {
    let board = manager.board().lock().expect("board");
    board.snapshot_page(clock::wall(), 0, 0)
}

fn watch(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    talk.out.flush()?;
    match manager.watch(talk.lines) {
        Leave::Back => Ok(()),
        Leave::End => Err(Stop::End),
    }
}

fn configure(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let mut suggested = path(manager);
    loop {
        talk.show("\n")?;
        let choice = talk.choose(&CONFIGURE, 1, Configure::Back)?;
        let done = match choice {
            Configure::Back => return Ok(()),
            Configure::Create => replacing(manager, talk).and_then(|()| create(manager, talk)),
            Configure::Load => {
                replacing(manager, talk).and_then(|()| load(manager, talk, &mut suggested))
            }
        };
        match done {
            Ok(Load::Loaded) => return Ok(()),
            Ok(Load::Refused) => {}
            Err(Stop::Back) => talk.say("Nothing was changed.")?,
            Err(stop) => return Err(stop),
        }
    }
}

/// What came of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Loaded,
    Refused,
}

/// Makes sure that unsaved changes may be lost.
fn replacing(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    if !manager.unsaved() {
        return Ok(());
    }
    let question = format!("Changes to {} are not saved. Drop them?", shown(manager));
    match talk.confirm(&question, Reply::No)? {
        Reply::Yes => Ok(()),
        Reply::No => Err(Stop::Back),
    }
}

/// Asks for agents and targets, writes them to a file and loads it.
fn create(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<Load> {
    talk.say(&format!(
        "Enter takes the answer in brackets, {BACK} gives up."
    ))?;
    let (mut fleet, rule) = (Fleet::default(), manager.key_rule());
    talk.say("Agents, the places to probe from:")?;
    while let Some(agent) = entry::agent(talk, &fleet, None, rule)? {
        fleet.agents.push(agent);
    }
    talk.say("Targets, the services to probe:")?;
    while let Some(target) = entry::target(talk, &fleet, None)? {
        fleet.targets.push(target);
    }
    let problems = fleet.problems(rule);
    if !problems.is_empty() {
        let problems: Vec<String> = problems.iter().map(|p| p.to_string()).collect();
        return refused(talk, &problems);
    }
    let mut suggested = PathBuf::from(FILE_DEFAULT);
    loop {
        let path = file_to_write(talk, suggested, None)?;
        match files::replace(&path, fleet.to_json().as_bytes()) {
            Ok(()) => return take(manager, talk, &path),
            Err(error) => talk.say(&format!("  {error}"))?,
        }
        suggested = path;
    }
}

/// Asks for a file, which is suggested again when there is something wrong with it.
fn load(manager: &dyn Running, talk: &mut Talk<'_>, suggested: &mut PathBuf) -> Answer<Load> {
    let path = file(talk, "File", suggested.clone())?;
    suggested.clone_from(&path);
    take(manager, talk, &path)
}

fn take(manager: &dyn Running, talk: &mut Talk<'_>, path: &Path) -> Answer<Load> {
    if let Err(problems) = manager.load(path) {
        return refused(talk, &problems);
    }
    let fleet = manager.fleet();
    let agents = tables::counted(fleet.agents.len(), "agent");
    let targets = tables::counted(fleet.targets.len(), "target");
    let path = path.display();
    talk.say(&format!("Loaded {path}: {agents}, {targets}."))?;
    edit::told(manager, talk)?;
    Ok(Load::Loaded)
}

fn refused(talk: &mut Talk<'_>, problems: &[String]) -> Answer<Load> {
    talk.list(problems)?;
    talk.say("Nothing was changed.")?;
    Ok(Load::Refused)
}

/// Asks for the name of a file.
fn file(talk: &mut Talk<'_>, prompt: &str, default: PathBuf) -> Answer<PathBuf> {
    let default = (default.display().to_string(), default);
    talk.ask(prompt, Some(default), |text| Ok(PathBuf::from(text)))
}

/// Asks for a file until there is none of that name, it is `own`, or it may be overwritten.
fn file_to_write(talk: &mut Talk<'_>, mut default: PathBuf, own: Option<&Path>) -> Answer<PathBuf> {
    loop {
        let path = file(talk, "Save to", default)?;
        if Some(&*path) == own || files::stamp(&path).is_none() {
            return Ok(path);
        }
        let question = format!("{} exists. Overwrite it?", path.display());
        if talk.confirm(&question, Reply::No)? == Reply::Yes {
            return Ok(path);
        }
        default = path;
    }
}

/// Saves to a file that the person names.
fn save(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let own = manager.path();
    let path = file_to_write(talk, path(manager), own.as_deref())?;
    match manager.save(&path) {
        Ok(()) => talk.say(&format!("Saved {}.", path.display())),
        Err(error) => talk.say(&format!("  {error}")),
    }
}

#[derive(Debug, Clone, Copy)]
enum Exit {
    Leave,
    Stay,
}

/// Asks what to do with unsaved changes; stays when they should be saved and cannot be.
fn exit(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<Exit> {
    if !manager.unsaved() {
        return Ok(Exit::Leave);
    }
    let question = format!("Changes to {} are not saved. Save them?", shown(manager));
    if talk.confirm(&question, Reply::Yes)? == Reply::Yes {
        save(manager, talk)?;
        if manager.unsaved() {
            return Ok(Exit::Stay);
        }
    }
    Ok(Exit::Leave)
}

fn left_unsaved(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    if !manager.unsaved() {
        return Ok(());
    }
    talk.say(&format!("Changes to {} were not saved.", shown(manager)))
}

/// The file in use, or the usual one.
fn path(manager: &dyn Running) -> PathBuf {
    let usual = || PathBuf::from(FILE_DEFAULT);
    manager.path().unwrap_or_else(usual)
}

/// What the configuration is called in a question.
fn shown(manager: &dyn Running) -> String {
    let file = |path: PathBuf| path.display().to_string();
    let none = || "the configuration".to_string();
    manager.path().map_or_else(none, file)
}

#[cfg(test)]
mod tests;
