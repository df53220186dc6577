//! The running manager: one link per agent, the board they fill, the fleet they serve.
//! The same in every mode; the menu, the view and `serve` only look and ask.

mod judge;
mod quiet;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::alerts::Posts;
use super::board::{Board, Event};
use super::control;
use super::events;
use super::exports::{ExportRow, Exports};
use super::fleet_file::{self, base_of};
use super::history::{self, Limits};
use super::knock::Knocks;
use super::link::{Contact, Link};
use super::replay;
use super::state::{AgentState, Announced, Verdicts};
use crate::bell::Bell;
use crate::clock;
use crate::config::{self, Fleet, FleetAgent, KeyRule, Problem};
use crate::error::{Context, Error, Result};
use crate::files::{self, DirLock, KeyFile, Stamp};
use crate::journal::Totals;
use crate::log;
#[cfg(test)]
use crate::model::Mono;
use crate::model::{Epoch, Id, Name};
use crate::net::resolve::Resolver;
use crate::proto::{self, Hello, Role, Side};
use crate::record::Record;
use crate::threads;

/// How often the fleet file is looked at.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Looks between two saves of what changed (and looks at key files), and between two
/// rounds of retention.
const SAVE_ROUNDS: u64 = 2;
const RETAIN_ROUNDS: u64 = 30;
/// Notices kept until someone reads them.
const NOTICES_MAX: usize = 100;
const STACK_BYTES: usize = 256 * 1024;
/// How far back the board is filled.
const FILL: Duration = Duration::from_secs(3600);

/// How a manager runs.
#[derive(Debug, Clone)]
pub struct Options {
    pub data: PathBuf,
    pub name: Name,
    /// Replace configurations that belong to other managers.
    pub take_over: bool,
    pub limits: Limits,
    /// Whether links that leave this machine must have keys.
    pub key_rule: KeyRule,
    /// Where agents may dial in.
    pub listen: Option<SocketAddr>,
}

struct FleetState {
    fleet: Arc<Fleet>,
    path: Option<PathBuf>,
    stamp: Option<Stamp>,
    unsaved: bool,
}

#[derive(Default)]
struct Notices {
    kept: Vec<String>,
    dropped: u64,
}

/// See the module text.
pub struct Core {
    options: Options,
    _lock: Option<DirLock>,
    id: Id,
    /// Made anew by every process.
    instance: Id,
    resolver: Resolver,
    board: Mutex<Board>,
    bell: Bell,
    fleet: Mutex<FleetState>,
    links: Mutex<BTreeMap<Name, Arc<Link>>>,
    /// The newest record the board's state follows, by agent.
    marks: Mutex<HashMap<Name, (Epoch, u64)>>,
    /// What was told differs from what is on disk.
    told_unsaved: AtomicBool,
    /// What was told before the start, until there is a fleet to tell it of.
    told_before: Mutex<Option<Verdicts>>,
    /// Which name each agent id belongs to.
    pins: Mutex<HashMap<Id, Name>>,
    notices: Mutex<Notices>,
    knocks: Knocks,
    quiet: quiet::Quiet,
    alerts: Posts,
    exports: Exports,
    /// What was told by this manager before it started, oldest first.
    events_before: Vec<Arc<Event>>,
    /// The number of the last event that is kept.
    events_kept: AtomicU64,
}

impl Core {
    /// Takes the data directory and starts, without a fleet yet.
    pub fn start(options: Options) -> Result<Arc<Core>> {
        files::ensure_dir(&options.data)?;
        let lock = files::lock(&options.data)?;
        Core::start_locked(options, lock)
    }

    /// As [`Core::start`]; `None` when another process has the data directory.
    pub fn try_start(options: Options) -> Result<Option<Arc<Core>>> {
        files::ensure_dir(&options.data)?;
        let lock = files::try_lock(&options.data)?;
        lock.map(|lock| Core::start_locked(options, lock))
            .transpose()
    }

    fn start_locked(options: Options, lock: DirLock) -> Result<Arc<Core>> {
        let core = Core::assemble(options, Some(lock))?;
        core.start_thread("keeper", Core::keep)?;
        core.start_thread("judge", Core::judge)?;
        if let Err(error) = control::listen(&core) {
            core.notice(format!("{error}; silences can't be asked for from outside"));
        }
        Ok(core)
    }

    /// A manager of which nothing runs yet.
    pub(super) fn assemble(options: Options, lock: Option<DirLock>) -> Result<Arc<Core>> {
        for part in ["agents", "alerts", "history"] {
            files::ensure_dir(&options.data.join(part))?;
        }
        let told_before = Verdicts::load(&options.data).or_else(|error| {
            // Without it some events may be told again, which is better than nothing at all.
            let aside = files::set_aside(&Verdicts::path(&options.data))?;
            log::line(format_args!("{error}; it is kept as {aside}"));
            Ok::<_, Error>(Verdicts::default())
        })?;
        let events_before = events::load(&options.data).unwrap_or_else(|error| {
            log::line(format_args!("{error}; what was told before is forgotten"));
            Vec::new()
        });
        let last = events_before.last().map_or(0, |event| event.no);
        let mut board = Board::new();
        board.number_from(last);
        Ok(Arc::new(Core {
            id: files::own_id(&options.data)?,
            quiet: quiet::Quiet::load(&options.data)?,
            options,
            _lock: lock,
            instance: Id(clock::random()),
            resolver: Resolver::default(),
            board: Mutex::new(board),
            bell: Bell::default(),
            fleet: Mutex::new(FleetState {
                fleet: Arc::default(),
                path: None,
                stamp: None,
                unsaved: false,
            }),
            links: Mutex::default(),
            marks: Mutex::default(),
            told_unsaved: AtomicBool::default(),
            told_before: Mutex::new(Some(told_before)),
            pins: Mutex::default(),
            notices: Mutex::default(),
            knocks: Knocks::default(),
            alerts: Posts::default(),
            exports: Exports::default(),
            events_before,
            events_kept: AtomicU64::new(last),
        }))
    }

    /// What was told before this process began, oldest first.
    pub fn events_before(&self) -> &[Arc<Event>] {
        &self.events_before
    }

    /// The latest events, those of before among them, oldest first.
    pub fn events(&self, board: &Board) -> Vec<Arc<Event>> {
        let before = self.events_before.iter().cloned();
        before.chain(board.drain_events(0)).collect()
    }

    /// Keeps the latest events, if there are new ones.
    fn save_events(&self) {
        let events = self.events(&self.board.lock().expect("board"));
        let last = events.last().map_or(0, |event| event.no);
        if self.events_kept.swap(last, Ordering::SeqCst) == last {
            return;
        }
        if let Err(error) = events::save(self.data(), &events) {
            // Not as an event: there would be no end of them.
            log::line(error);
        }
    }

    fn start_thread(self: &Arc<Core>, name: &str, run: fn(Arc<Core>)) -> Result<()> {
        let core = Arc::clone(self);
        threads::start(name, STACK_BYTES, move || run(core))
            .context(|| format!("start the {name} thread"))?;
        Ok(())
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.options.data
    }

    /// This manager's id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// This manager's name.
    pub fn name(&self) -> &Name {
        &self.options.name
    }

    /// Whether it replaces configurations that belong to other managers.
    pub fn takes_over(&self) -> bool {
        self.options.take_over
    }

    /// Whether links that leave this machine must have keys.
    pub fn key_rule(&self) -> KeyRule {
        self.options.key_rule
    }

    /// For dialling agents.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// The status now.
    pub fn board(&self) -> &Mutex<Board> {
        &self.board
    }

    /// Rings when the board has changed.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// What this manager says first, to the agent of this name.
    pub fn hello(&self, side: Side, agent: &Name) -> Hello {
        Hello {
            version: proto::VERSION,
            role: Role::Manager,
            side,
            id: self.id,
            name: self.options.name.clone(),
            instance: self.instance,
            at: clock::wall(),
            expects: Some(agent.clone()),
            auth: None,
        }
    }

    /// Where agents may dial in.
    pub fn listens(&self) -> Option<SocketAddr> {
        self.options.listen
    }

    /// The link to the agent of this name.
    pub fn link_named(&self, name: &Name) -> Option<Arc<Link>> {
        self.links().get(name).cloned()
    }

    /// Tells, once, of an agent that was not let in.
    pub fn turned_away(&self, text: &str) {
        if let Some(news) = self.knocks.news(text, clock::mono()) {
            self.notice(news);
        }
    }

    /// The fleet in force.
    pub fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.fleet_state().fleet)
    }

    /// The file it was loaded from or saved to.
    pub fn path(&self) -> Option<PathBuf> {
        self.fleet_state().path.clone()
    }

    /// The directory from which relative paths in it are found.
    pub fn base(&self) -> PathBuf {
        base_of(self.path().as_deref()).to_path_buf()
    }

    /// Whether it differs from that file through changes made here.
    pub fn unsaved(&self) -> bool {
        self.fleet_state().unsaved
    }

    /// Reads a fleet file and makes it the one in force. Else every problem, ready to
    /// print, and nothing has changed.
    pub fn load(self: &Arc<Core>, path: &Path) -> std::result::Result<(), Vec<String>> {
        let stamp = files::stamp(path);
        let checked = fleet_file::check(path, self.key_rule());
        let fleet = checked.map_err(|problems| fleet_file::named(path, &problems))?;
        let mut state = self.fleet_state();
        self.apply(&mut state, fleet, base_of(Some(path)))
            .map_err(|error| vec![error.to_string()])?;
        state.path = Some(path.to_path_buf());
        state.stamp = stamp;
        state.unsaved = false;
        drop(state);
        self.watch_quiet();
        Ok(())
    }

    /// Checks a fleet changed here and makes it the one in force, not yet saved.
    pub fn change(self: &Arc<Core>, fleet: Fleet) -> std::result::Result<(), Vec<String>> {
        let problems = fleet.problems(self.key_rule());
        if !problems.is_empty() {
            return Err(problems.iter().map(Problem::to_string).collect());
        }
        let mut state = self.fleet_state();
        let path = state.path.clone();
        let base = base_of(path.as_deref());
        let problems = fleet_file::key_problems(&fleet, base, self.key_rule());
        if !problems.is_empty() {
            let line = |(place, text)| format!("{place}: {text}");
            return Err(problems.into_iter().map(line).collect());
        }
        self.apply(&mut state, fleet, base)
            .map_err(|error| vec![error.to_string()])?;
        state.unsaved = true;
        drop(state);
        self.watch_quiet();
        Ok(())
    }

    /// Writes the fleet in force to a file, whole; where its key files would not be found
    /// from there, it is not written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut state = self.fleet_state();
        let base = base_of(Some(path));
        let problems = fleet_file::key_problems(&state.fleet, base, self.key_rule());
        if let Some((place, text)) = problems.first() {
            let shown = path.display();
            return Err(Error::new(format!("save {shown}: {place}: {text}")));
        }
        files::replace(path, state.fleet.to_json().as_bytes())?;
        state.path = Some(path.to_path_buf());
        state.stamp = files::stamp(path);
        state.unsaved = false;
        Ok(())
    }

    /// What happened in the background since this was last asked.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = self.notices.lock().expect("notices");
        let Notices { kept, dropped } = std::mem::take(&mut *notices);
        let more = (dropped > 0).then(|| format!("{dropped} more notices were not kept"));
        kept.into_iter().chain(more).collect()
    }

    /// Tells something that is no change of a target's or an agent's state: as an event of
    /// the board, and kept for a menu that shows no events.
    pub fn notice(&self, text: String) {
        let mut board = self.board.lock().expect("board");
        board.note(text.clone(), clock::wall());
        drop(board);
        let mut notices = self.notices.lock().expect("notices");
        match notices.kept.len() < NOTICES_MAX {
            true => notices.kept.push(text),
            false => notices.dropped += 1,
        }
        drop(notices);
        self.bell.ring();
    }

    fn fleet_state(&self) -> MutexGuard<'_, FleetState> {
        self.fleet.lock().expect("fleet")
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Link>>> {
        self.links.lock().expect("links")
    }

    /// Refuses an agent id that another name of the fleet has: one agent under two names
    /// would be counted twice. A name that left the fleet gives its id back.
    pub fn pin(&self, id: Id, name: &Name) -> Result<()> {
        let mut pins = self.pins.lock().expect("pins");
        match pins.get(&id) {
            Some(other) if other != name => Err(Error::new(format!(
                "the agent here has the id {id} of agent {other}: the same agent under two names, or a copied data directory"
            ))),
            _ => {
                pins.retain(|_, other| other != name);
                pins.insert(id, name.clone());
                Ok(())
            }
        }
    }

    /// Notes the newest record that an agent's states follow.
    pub fn note_mark(&self, agent: &Name, epoch: Epoch, seq: u64) {
        self.marks
            .lock()
            .expect("marks")
            .insert(agent.clone(), (epoch, seq));
    }

    /// What was announced of an agent, and up to which record.
    pub fn announced(&self, agent: &Name) -> (Option<(Epoch, u64)>, Vec<Announced>) {
        // The mark first: states may be newer than it, never older.
        let mark = self.marks.lock().expect("marks").get(agent).copied();
        let board = self.board.lock().expect("board");
        (mark, board.known(agent))
    }

    /// Makes `fleet` the one in force: board, links, configurations.
    /// Key files are found from `base`.
    fn apply(self: &Arc<Core>, state: &mut FleetState, fleet: Fleet, base: &Path) -> Result<()> {
        let key_file = |agent| match fleet.key_file_of(agent) {
            Some(text) => fleet_file::open_key_file(base, text, &agent.name).map(Some),
            None => Ok(None),
        };
        // All that can go wrong with them does before anything is changed.
        let key_files: Vec<_> = fleet.agents.iter().map(key_file).collect::<Result<_>>()?;
        let mut board = self.board.lock().expect("board");
        board.show(&fleet);
        if let Some(told) = self.told_before.lock().expect("told before").take() {
            board.restore_told(&told);
        }
        drop(board);
        self.stop_links_not_in(&fleet, base);
        for (agent, key_file) in fleet.agents.iter().zip(key_files) {
            let link = self.link_to(agent, key_file)?;
            let targets = fleet.targets_for(&agent.name);
            if let Err(error) = link.want(&config::agent_config_json(&targets)) {
                // The agent gets it once it could be saved.
                self.notice(error.to_string());
            }
        }
        let notices = self.alerts.set_rules(self, &fleet.alerts)?;
        notices.into_iter().for_each(|notice| self.notice(notice));
        let rules = fleet.export.clone();
        state.fleet = Arc::new(fleet);
        // Last: their threads ask for the fleet.
        // What one of them lacks is told: the fleet is in force by now.
        let notices = self.exports.set_rules(self, &rules, base);
        let notices = notices.unwrap_or_else(|error| vec![error.to_string()]);
        notices.into_iter().for_each(|notice| self.notice(notice));
        self.bell.ring();
        Ok(())
    }

    fn stop_links_not_in(&self, fleet: &Fleet, base: &Path) {
        self.links().retain(|_, link| {
            let key_path = fleet_file::key_path(fleet, base, &link.name);
            let kept = link.key_path() == key_path.as_deref()
                && fleet
                    .agents
                    .iter()
                    .any(|a| a.name == link.name && contact_of(a) == link.contact);
            if !kept {
                link.stop();
            }
            if !fleet.agents.iter().any(|a| a.name == link.name) {
                let mut pins = self.pins.lock().expect("pins");
                pins.retain(|_, name| *name != link.name);
            }
            kept
        });
    }

    /// The link to an agent, started with what is known of it when there is none yet.
    fn link_to(
        self: &Arc<Core>,
        agent: &FleetAgent,
        key_file: Option<KeyFile>,
    ) -> Result<Arc<Link>> {
        if let Some(link) = self.links().get(&agent.name) {
            return Ok(Arc::clone(link));
        }
        let saved = AgentState::load(self.data(), &agent.name)?;
        if let Some(id) = saved.id {
            self.pins
                .lock()
                .expect("pins")
                .entry(id)
                .or_insert_with(|| agent.name.clone());
        }
        self.fill(&agent.name, &saved)?;
        let name = agent.name.clone();
        let link = Link::start(self, name, contact_of(agent), key_file, saved)?;
        self.links().insert(agent.name.clone(), Arc::clone(&link));
        Ok(link)
    }

    /// Puts back what was announced, and the last hour's results as history.
    fn fill(&self, agent: &Name, saved: &AgentState) -> Result<()> {
        let now = clock::wall();
        // Locked for a moment at a time: this reads an hour of history.
        let board = || self.board.lock().expect("board");
        for state in &saved.states {
            board().restore(agent, state, now);
        }
        let Some(id) = saved.id else {
            return Ok(());
        };
        let dir = super::state::history_dir(self.data(), id);
        if !dir.is_dir() {
            return Ok(());
        }
        let since = now.before(FILL);
        replay::replay(&dir, since, |epoch, record: Record| {
            board().record(agent, epoch, &record, now)
        })
    }

    /// The background's rounds, for as long as the process lives.
    fn keep(self: Arc<Core>) {
        for round in 1.. {
            clock::sleep(WATCH_EVERY);
            self.keep_once(round);
        }
    }

    /// One round, of which the first is 1.
    pub(super) fn keep_once(self: &Arc<Core>, round: u64) {
        self.watch_file();
        self.save_told();
        self.save_events();
        self.watch_quiet();
        if round % SAVE_ROUNDS == 0 {
            self.check_keys();
            self.save_states();
        }
        if round % RETAIN_ROUNDS == 0 {
            self.prune_quiet();
            if let Err(error) = self.retain() {
                self.notice(format!("history: {error}"));
            }
        }
    }

    /// Loads the fleet file again when it has changed on disk.
    fn watch_file(self: &Arc<Core>) {
        let (path, known, unsaved) = {
            let state = self.fleet_state();
            let Some(path) = state.path.clone() else {
                return;
            };
            (path, state.stamp, state.unsaved)
        };
        let found = files::stamp(&path);
        if found == known {
            return;
        }
        let shown = path.display();
        if unsaved {
            self.fleet_state().stamp = found;
            self.notice(format!(
                "{shown} changed on disk; the changes made here are not saved: save or load decides"
            ));
            return;
        }
        match self.load(&path) {
            Ok(()) => self.notice(format!("{shown} changed on disk: loaded")),
            Err(problems) => {
                self.fleet_state().stamp = found;
                self.notice(format!(
                    "{shown} changed on disk: not loaded, the fleet before stays in force"
                ));
                problems
                    .into_iter()
                    .for_each(|problem| self.notice(problem));
            }
        }
    }

    /// Has every receiver save and deliver what there is, with `send`; when to do so again.
    #[cfg(test)]
    pub(super) fn deliver_all(
        &self,
        save_at: &mut BTreeMap<Name, Mono>,
        send: &mut dyn FnMut(&crate::alert::Message) -> std::result::Result<(), String>,
    ) -> Mono {
        self.alerts.turn_all(self, save_at, send)
    }

    fn check_keys(&self) {
        let links: Vec<Arc<Link>> = self.links().values().cloned().collect();
        links.iter().for_each(|link| link.check_key());
    }

    fn save_states(&self) {
        let links: Vec<Arc<Link>> = self.links().values().cloned().collect();
        for link in links {
            if let Err(error) = link.save_if_changed() {
                self.notice(error.to_string());
            }
        }
    }

    /// What the history of each agent takes on disk, and what became of its numbers, as far
    /// as it is open.
    pub fn accounts(&self) -> Vec<(Name, u64, Totals)> {
        let links: Vec<Arc<Link>> = self.links().values().cloned().collect();
        let account = |link: Arc<Link>| {
            let history = link.history.lock().expect("history");
            let (bytes, totals) = history.as_ref()?.account();
            Some((link.name.clone(), bytes, totals))
        };
        links.into_iter().filter_map(account).collect()
    }

    /// How exports get on.
    pub fn exports(&self) -> Vec<ExportRow> {
        self.exports.rows()
    }

    /// Limits of the histories.
    pub fn limits(&self) -> Limits {
        self.options.limits
    }

    /// Keeps the histories within their limits.
    fn retain(&self) -> Result<()> {
        let links: Vec<Arc<Link>> = self.links().values().cloned().collect();
        let mut open: Vec<_> = links
            .iter()
            .map(|l| l.history.lock().expect("history"))
            .collect();
        let is_open = open.iter().map(|h| h.is_some());
        let ids: Vec<Id> = links
            .iter()
            .zip(is_open)
            .filter_map(|(link, is_open)| link.state().id.filter(|_| is_open))
            .collect();
        let mut others = history::others(self.data(), &ids)?;
        let mut all: Vec<_> = open.iter_mut().filter_map(|h| h.as_mut()).collect();
        all.extend(others.iter_mut());
        history::enforce(&mut all, self.options.limits, clock::wall())
    }
}

fn contact_of(agent: &FleetAgent) -> Contact {
    match &agent.address {
        Some(address) => Contact::Dial(address.clone()),
        None => Contact::DialsIn,
    }
}
