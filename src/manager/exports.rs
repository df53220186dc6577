//! Exports at work: each has a thread that follows the history on disk and sends results on,
//! and a file that says how far it has got.
//!
//! Always: the place moves only past what the receiver has taken, so that nothing is skipped
//! while it is away; what retention deleted before it went out is counted as missed, and what
//! the receiver refused for good as refused. A restart may send the last few seconds again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::core::Core;
use super::replay;
use super::tail::{More, Places, Start, Tail};
use crate::bell::Bell;
use crate::clock;
use crate::config::Fleet;
use crate::error::{Context, Error, Result};
use crate::export::{ExportRule, Receiver};
use crate::files::{self, TokenFile};
use crate::http;
use crate::json::{self, Object, Value};
use crate::model::{Mono, Name, NamesSeen, Wall};
use crate::net::back_off::back_off;
use crate::net::pour::pour;
use crate::record::Record;
use crate::threads;

/// How often new results are looked for, and how often the place is saved at most.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const SAVE_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked, while there is a backlog, how long that is.
const BACKLOG_EVERY: Duration = Duration::from_secs(5);
/// One delivery has about so many records, shared among the runs of all agents.
const BATCH_RECORDS: usize = 5_000;
/// Largest file of an export, in bytes.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
const STACK_BYTES: usize = 256 * 1024;

/// How far an export has got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// `None` before the first look.
    places: Option<Places>,
    /// Results that the receiver took.
    pub delivered: u64,
    /// Numbers that were deleted before they went out.
    pub missed: u64,
    /// Results that the receiver refused for good.
    pub refused: u64,
    /// When it last took something.
    pub delivered_at: Option<Wall>,
    /// Since when deliveries fail, and why.
    pub failing: Option<(Wall, String)>,
}

/// An export as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRow {
    pub name: Name,
    pub destination: String,
    pub progress: Progress,
    /// Numbers stored that it has not passed yet.
    pub backlog: u64,
}

fn path(data: &Path, name: &Name) -> PathBuf {
    data.join("exports").join(format!("{name}.json"))
}

impl Progress {
    /// Reads how far an export has got; nothing when there is no file.
    pub fn load(data: &Path, name: &Name) -> Result<Progress> {
        let path = path(data, name);
        if files::stamp(&path).is_none() {
            return Ok(Progress::default());
        }
        let bytes = files::read_bounded(&path, FILE_BYTES_MAX)?;
        let doing = || format!("read {}", path.display());
        let value = json::parse(&bytes).context(doing)?;
        parse(&value).ok_or_else(|| Error::new(format!("{}: not an export's place", doing())))
    }

    fn save(&self, data: &Path, name: &Name) -> Result<()> {
        let mut text = String::new();
        json::object(&mut text, |o| self.write(o));
        text.push('\n');
        files::replace(&path(data, name), text.as_bytes())
    }

    fn write(&self, o: &mut Object<'_>) {
        o.u64("delivered", self.delivered)
            .u64("missed", self.missed)
            .u64("refused", self.refused);
        if let Some(at) = self.delivered_at {
            o.u64("delivered_at", at.0);
        }
        if let Some((since, why)) = &self.failing {
            o.object("failing", |o| {
                o.u64("since", since.0).str("text", why);
            });
        }
        let Some(places) = &self.places else {
            return;
        };
        let mut places: Vec<_> = places.iter().collect();
        places.sort();
        o.array("places", |a| {
            for ((id, epoch), seq) in places {
                a.object(|o| {
                    o.str("id", &id.to_string())
                        .str("epoch", &epoch.to_string())
                        .u64("seq", *seq);
                });
            }
        });
    }

    /// How much of what is stored on disk it has not passed.
    fn backlog(&self, data: &Path) -> Result<u64> {
        let mut backlog = 0;
        for (_, id, dir) in replay::histories(data)? {
            for (epoch, last) in replay::last_numbers(&dir, |_| true)? {
                let place = self.places.as_ref().and_then(|p| p.get(&(id, epoch)));
                backlog += last.saturating_sub(place.copied().unwrap_or(0));
            }
        }
        Ok(backlog)
    }
}

fn parse(v: &Value<'_>) -> Option<Progress> {
    let number = |key| v.get(key).and_then(Value::u64);
    let place = |v: &Value<'_>| {
        let text = |key| v.get(key)?.str();
        Some((
            (text("id")?.parse().ok()?, text("epoch")?.parse().ok()?),
            v.get("seq")?.u64()?,
        ))
    };
    let places = v.get("places").and_then(Value::array);
    let failing = |v: &Value<'_>| {
        Some((
            Wall(v.get("since")?.u64()?),
            v.get("text")?.str()?.to_string(),
        ))
    };
    Some(Progress {
        places: match places {
            Some(list) => Some(list.iter().map(place).collect::<Option<_>>()?),
            None => None,
        },
        delivered: number("delivered")?,
        missed: number("missed")?,
        refused: number("refused")?,
        delivered_at: number("delivered_at").map(Wall),
        failing: v.get("failing").and_then(failing),
    })
}

/// Every export of a fleet as the data directory has it.
///
/// # Errors
/// Something that is there cannot be read.
pub fn rows(data: &Path, fleet: &Fleet) -> Result<Vec<ExportRow>> {
    let row = |rule: &ExportRule| {
        let progress = Progress::load(data, &rule.name)?;
        Ok(ExportRow {
            name: rule.name.clone(),
            destination: rule.destination(),
            backlog: progress.backlog(data)?,
            progress,
        })
    };
    fleet.export.iter().map(row).collect()
}

/// Writes an export as the status has it.
pub fn write(o: &mut Object<'_>, row: &ExportRow) {
    let progress = &row.progress;
    o.str("name", row.name.as_str())
        .str("destination", &row.destination)
        .u64("delivered", progress.delivered)
        .u64("backlog", row.backlog)
        .u64("missed", progress.missed)
        .u64("refused", progress.refused);
    match progress.delivered_at {
        Some(at) => o.u64("delivered_at", at.0),
        None => o.null("delivered_at"),
    };
    match &progress.failing {
        Some((since, why)) => o.u64("failing_since", since.0).str("failing", why),
        None => o.null("failing_since").null("failing"),
    };
}

/// The exports of a running manager.
#[derive(Debug, Default)]
pub struct Exports(Mutex<BTreeMap<Name, Arc<Export>>>);

#[derive(Debug)]
struct Export {
    rule: ExportRule,
    base: PathBuf,
    progress: Mutex<Progress>,
    /// As it was when it was last looked at.
    backlog: AtomicU64,
    bell: Bell,
    stopped: AtomicBool,
    /// Held while the file is written, so that none is written once it is removed.
    saving: Mutex<()>,
}

impl Exports {
    /// Makes these the exports. One that changed goes on from its place; one that went is
    /// forgotten. What is to be told of that.
    pub fn set_rules(
        &self,
        core: &Arc<Core>,
        rules: &[ExportRule],
        base: &Path,
    ) -> Result<Vec<String>> {
        let mut notices = Vec::new();
        let mut exports = self.0.lock().expect("exports");
        if rules.is_empty() && exports.is_empty() {
            return Ok(notices);
        }
        files::ensure_dir(&core.data().join("exports"))?;
        let known = std::mem::take(&mut *exports);
        for (name, export) in &known {
            match rules.iter().find(|rule| rule.name == *name) {
                Some(rule) if *rule == export.rule && base == export.base => {
                    exports.insert(name.clone(), Arc::clone(export));
                }
                Some(_) => export.stop(),
                None => notices.extend(export.remove(core)),
            }
        }
        for rule in rules {
            if exports.contains_key(&rule.name) {
                continue;
            }
            let progress = match known.get(&rule.name) {
                Some(before) => before.progress().clone(),
                None => Progress::load(core.data(), &rule.name).or_else(|error| {
                    let aside = files::set_aside(&path(core.data(), &rule.name))?;
                    notices.push(format!(
                        "export {}: {error}; it begins anew (kept as {aside})",
                        rule.name
                    ));
                    Ok::<_, Error>(Progress::default())
                })?,
            };
            let export = Arc::new(Export {
                rule: rule.clone(),
                base: base.to_path_buf(),
                progress: Mutex::new(progress),
                backlog: AtomicU64::default(),
                bell: Bell::default(),
                stopped: AtomicBool::default(),
                saving: Mutex::default(),
            });
            let (running, of) = (Arc::clone(&export), Arc::clone(core));
            threads::start(&format!("export-{}", rule.name), STACK_BYTES, move || {
                running.run(&of)
            })
            .context(|| format!("start the thread of export {}", rule.name))?;
            exports.insert(rule.name.clone(), export);
        }
        Ok(notices)
    }

    /// How they get on.
    pub fn rows(&self) -> Vec<ExportRow> {
        let exports: Vec<Arc<Export>> = self.0.lock().expect("exports").values().cloned().collect();
        let row = |export: Arc<Export>| {
            let progress = export.progress().clone();
            ExportRow {
                name: export.rule.name.clone(),
                destination: export.rule.destination(),
                backlog: export.backlog.load(Ordering::Relaxed),
                progress,
            }
        };
        exports.into_iter().map(row).collect()
    }
}

/// What is about to be sent.
#[derive(Debug, Default)]
struct Batch {
    text: String,
    results: u64,
    missed: u64,
}

impl Export {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("export")
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn stop(&self) {
        let _saving = self.saving.lock().expect("saving");
        self.stopped.store(true, Ordering::SeqCst);
        self.bell.ring();
    }

    /// Ends it; nothing of it is kept. What is to be told of that.
    fn remove(&self, core: &Core) -> Vec<String> {
        self.stop();
        let name = &self.rule.name;
        let failed = files::remove(&path(core.data(), name)).err();
        let told = format!("export {name} is gone, and its place in the history");
        failed
            .map(|error| error.to_string())
            .into_iter()
            .chain([told])
            .collect()
    }

    /// Follows and sends for as long as the fleet names it.
    fn run(&self, core: &Core) {
        let mut tail = self.tail(core.data());
        let mut names = NamesSeen::default();
        let (mut batch, mut failures) = (Batch::default(), 0u32);
        let (mut save_at, mut look_at) = (Mono(0), Mono(0));
        let mut more = More::No;
        while !self.is_stopped() {
            let heard = self.bell.heard();
            if batch.results == 0 {
                match self.collect(core, &mut tail, &mut names, &mut batch) {
                    Ok(found) => more = found,
                    Err(error) => {
                        self.failed(core, &error.to_string());
                        if batch.results == 0 {
                            self.bell.wait(heard, clock::mono().after(LOOK_EVERY));
                            continue;
                        }
                    }
                }
            }
            let rest = match self.deliver(core, &batch) {
                Ok(refused) => {
                    self.taken(core, &batch, refused, tail.places());
                    // What came while it was away is not collected yet.
                    if failures > 0 {
                        more = More::Yes;
                    }
                    (batch, failures) = (Batch::default(), 0);
                    match more {
                        More::Yes => Duration::ZERO,
                        More::No => LOOK_EVERY,
                    }
                }
                Err(error) => {
                    self.failed(core, &error);
                    failures += 1;
                    back_off(failures, clock::random())
                }
            };
            let is_even = failures == 0 && more == More::No;
            if is_even || clock::mono() >= look_at {
                self.look_at_backlog(core.data(), is_even);
                look_at = clock::mono().after(BACKLOG_EVERY);
            }
            if clock::mono() >= save_at && self.save(core) {
                save_at = clock::mono().after(SAVE_EVERY);
            }
            if !rest.is_zero() {
                self.bell.wait(heard, clock::mono().after(rest));
            }
        }
    }

    /// Where it goes on; a new one begins as its rule says.
    fn tail(&self, data: &Path) -> Tail {
        let start = match (self.progress().places.clone(), self.rule.since) {
            (Some(places), _) => Start::After(places),
            (None, Some(since)) => Start::Since(clock::wall().before(since)),
            (None, None) => Start::Now,
        };
        Tail::new(data, start)
    }

    /// Reads on, about a batch.
    fn collect(
        &self,
        core: &Core,
        tail: &mut Tail,
        names: &mut NamesSeen,
        batch: &mut Batch,
    ) -> Result<More> {
        let fleet = core.fleet();
        let group = |name: &Name| fleet.target(name).and_then(|target| target.group.clone());
        let each = (BATCH_RECORDS / tail.places().len().max(1)).max(10);
        tail.poll_some(each, |heard| {
            let Some(line) = heard.line else {
                batch.missed += heard.span.count();
                return;
            };
            if let Ok(record) = Record::parse_checked(line, names) {
                batch.results += self
                    .rule
                    .write(&mut batch.text, heard.agent, &record, group);
            }
        })
    }

    /// Sends a batch; whether the receiver refused it for good.
    ///
    /// # Errors
    /// Why it is to be sent again.
    fn deliver(&self, core: &Core, batch: &Batch) -> std::result::Result<Option<String>, String> {
        if batch.results == 0 {
            return Ok(None);
        }
        let (resolver, text, timeout) = (core.resolver(), batch.text.as_bytes(), self.rule.timeout);
        match &self.rule.receiver {
            Receiver::Graphite { address, .. } => {
                pour(resolver, address, text, timeout).map(|()| None)
            }
            Receiver::Influx { url, token_file } => {
                let token = token_file.as_ref().map(|file| {
                    let file = TokenFile::open(self.base.join(file))?;
                    Ok::<_, Error>(format!("Token {}", file.token()?))
                });
                let token = token.transpose().map_err(|error| error.to_string())?;
                let mut headers = vec![("Content-Type", "text/plain; charset=utf-8")];
                headers.extend(token.as_deref().map(|token| ("Authorization", token)));
                let asked = http::ask(resolver, url, &headers, text, timeout);
                match asked.map_err(|error| error.to_string())? {
                    (_, Ok(())) => Ok(None),
                    // It read them and will not have them, now or later.
                    (400 | 422, Err(error)) => Ok(Some(error.to_string())),
                    (_, Err(error)) => Err(error.to_string()),
                }
            }
        }
    }

    /// Notes that a batch was taken, or refused for good.
    fn taken(&self, core: &Core, batch: &Batch, refused: Option<String>, places: Places) {
        let name = &self.rule.name;
        let now = clock::wall();
        let mut progress = self.progress();
        let failing = progress.failing.take();
        progress.places = Some(places);
        progress.missed += batch.missed;
        match &refused {
            Some(_) => progress.refused += batch.results,
            None => progress.delivered += batch.results,
        }
        if batch.results > 0 {
            progress.delivered_at = Some(now);
        }
        drop(progress);
        if let Some(error) = refused {
            core.notice(format!(
                "export {name}: {} results refused: {error}",
                batch.results
            ));
        }
        if batch.missed > 0 {
            core.notice(format!(
                "export {name}: {} records were deleted before they went out",
                batch.missed
            ));
        }
        if failing.is_some() {
            core.notice(format!("export {name}: works again"));
        }
    }

    /// Notes a failure, and tells the first of a row.
    fn failed(&self, core: &Core, error: &str) {
        let mut progress = self.progress();
        let is_first = progress.failing.is_none();
        let since = progress
            .failing
            .as_ref()
            .map_or_else(clock::wall, |(since, _)| *since);
        progress.failing = Some((since, error.to_string()));
        drop(progress);
        if is_first {
            core.notice(format!("export {}: {error}; trying again", self.rule.name));
        }
    }

    /// Notes how much is to go out; nothing when it has just passed all there was.
    fn look_at_backlog(&self, data: &Path, is_even: bool) {
        let backlog = match is_even {
            true => Ok(0),
            false => self.progress().clone().backlog(data),
        };
        // What can't be read now may be next time.
        if let Ok(backlog) = backlog {
            self.backlog.store(backlog, Ordering::Relaxed);
        }
    }

    /// Writes how far it has got; whether that could be done.
    fn save(&self, core: &Core) -> bool {
        let progress = self.progress().clone();
        let _saving = self.saving.lock().expect("saving");
        if self.is_stopped() {
            return true;
        }
        match progress.save(core.data(), &self.rule.name) {
            Ok(()) => true,
            Err(error) => {
                core.notice(error.to_string());
                false
            }
        }
    }
}
