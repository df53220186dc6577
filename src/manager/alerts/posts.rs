//! The receivers of a running manager: each with a thread that delivers, and a file.
//!
//! Always: a message is on disk before it goes out, so a restart in between delivers it
//! twice at most and never not at all. A slow receiver, or a slow disk, keeps nobody
//! waiting: whoever observes takes a lock that no delivery and no write to disk holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::deliver::deliver;
use super::receiver::Receiver;
use crate::alert::{AlertEvent, AlertRule, Message};
use crate::bell::Bell;
use crate::clock;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::json;
use crate::manager::board::{Board, Look};
use crate::manager::core::Core;
use crate::model::{Mono, Name, Wall};
use crate::threads;

/// Largest file of a receiver, in bytes.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest rest of a thread that has nothing to deliver.
const REST: Duration = Duration::from_secs(60);
/// Rest after a write that failed.
const SAVE_AGAIN: Duration = Duration::from_secs(5);
const STACK_BYTES: usize = 256 * 1024;

/// The file of one receiver.
pub fn path(data: &Path, name: &Name) -> PathBuf {
    data.join("alerts").join(format!("{name}.json"))
}

/// Reads what is kept of a receiver; one that was told nothing when there is no file.
pub fn load(data: &Path, rule: &AlertRule) -> Result<Receiver> {
    let path = path(data, &rule.name);
    if files::stamp(&path).is_none() {
        return Ok(Receiver::new(rule.clone()));
    }
    let bytes = files::read_bounded(&path, FILE_BYTES_MAX)?;
    let doing = || format!("read {}", path.display());
    let value = json::parse(&bytes).context(doing)?;
    let receiver = Receiver::parse(rule.clone(), &value);
    receiver.ok_or_else(|| Error::new(format!("{}: not a receiver's state", doing())))
}

/// One receiver and what its thread needs.
#[derive(Debug)]
struct Post {
    path: PathBuf,
    receiver: Mutex<Receiver>,
    /// Held while the file is written, so that none is written once it is removed.
    saving: Mutex<()>,
    bell: Bell,
    stopped: AtomicBool,
}

/// See the module text.
#[derive(Debug, Default)]
pub struct Posts {
    posts: Mutex<BTreeMap<Name, Arc<Post>>>,
}

impl Posts {
    /// Makes these the receivers: those that stay keep what they were told and what waits.
    /// Gives back what is to be told of those that went, or that have to begin anew.
    pub fn set_rules(&self, core: &Arc<Core>, rules: &[AlertRule]) -> Result<Vec<String>> {
        let mut notices = Vec::new();
        // The map is locked for a moment only: whoever observes waits for it.
        let posts = || self.posts.lock().expect("posts");
        let known: BTreeMap<Name, Arc<Post>> = posts().clone();
        for (name, post) in &known {
            if rules.iter().all(|rule| rule.name != *name) {
                posts().remove(name);
                notices.extend(post.remove(name));
            }
        }
        if known.is_empty() {
            notices.extend(forget_others(core.data(), rules)?);
        }
        for rule in rules {
            if let Some(post) = known.get(&rule.name) {
                post.receiver().set_rule(rule.clone());
                post.bell.ring();
                continue;
            }
            let receiver = load(core.data(), rule).unwrap_or_else(|error| {
                let aside = files::set_aside(&path(core.data(), &rule.name));
                let aside =
                    aside.map_or_else(|error| error.to_string(), |at| format!("kept as {at}"));
                notices.push(format!(
                    "alert {}: {error}; it begins anew ({aside})",
                    rule.name
                ));
                Receiver::new(rule.clone())
            });
            let post = Post::start(core, receiver)?;
            posts().insert(rule.name.clone(), post);
        }
        Ok(notices)
    }

    /// Has every receiver compare what is so with what it was told, and hear of outages
    /// that were over before they were known. When to do so again, even if nothing happens.
    pub fn observe(
        &self,
        core: &Core,
        board: &Board,
        late: &[AlertEvent],
        now: Wall,
    ) -> Option<Wall> {
        let manager = core.name();
        let posts = self.posts.lock().expect("posts");
        if posts.is_empty() {
            return None;
        }
        let facts = Look::new(board, now);
        let next_at = posts.values().filter_map(|post| {
            let mut receiver = post.receiver();
            receiver.observe(&facts, manager, now, fresh_id);
            receiver.late(late, manager, now, fresh_id());
            if receiver.is_changed() {
                post.bell.ring();
            }
            receiver.waits_until()
        });
        next_at.min()
    }
}

/// Removes what is kept of receivers that went while no manager ran; what to tell of it.
fn forget_others(data: &Path, rules: &[AlertRule]) -> Result<Vec<String>> {
    let mut notices = Vec::new();
    for file in files::names_in(&data.join("alerts"))? {
        let Some(name) = file.strip_suffix(".json") else {
            continue;
        };
        if rules.iter().all(|rule| rule.name.as_str() != name) {
            files::remove(&data.join("alerts").join(&file))?;
            notices.push(format!("alert {name} is gone, and what was kept of it"));
        }
    }
    Ok(notices)
}

fn fresh_id() -> String {
    format!("{:016x}", clock::random())
}

impl Post {
    fn start(core: &Arc<Core>, receiver: Receiver) -> Result<Arc<Post>> {
        let name = receiver.rule().name.clone();
        let post = Arc::new(Post {
            path: path(core.data(), &name),
            receiver: Mutex::new(receiver),
            saving: Mutex::default(),
            bell: Bell::default(),
            stopped: AtomicBool::new(false),
        });
        let (running, core) = (Arc::clone(&post), Arc::clone(core));
        let run = move || running.run(&core);
        threads::start(&format!("alert-{name}"), STACK_BYTES, run)
            .context(|| format!("start the thread of alert {name}"))?;
        Ok(post)
    }

    fn receiver(&self) -> MutexGuard<'_, Receiver> {
        self.receiver.lock().expect("receiver")
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Ends it; nothing of it is kept. What is to be told of that.
    fn remove(&self, name: &Name) -> Vec<String> {
        let _saving = self.saving.lock().expect("saving");
        self.stopped.store(true, Ordering::SeqCst);
        self.bell.ring();
        let failed = files::remove(&self.path)
            .err()
            .map(|error| error.to_string());
        let lost = match self.receiver().queued() {
            0 => None,
            1 => Some("1 message that was not delivered".to_string()),
            more => Some(format!("{more} messages that were not delivered")),
        };
        let lost = lost.map(|lost| format!("alert {name} was removed with {lost}"));
        failed.into_iter().chain(lost).collect()
    }

    /// Writes what has changed to disk; whether that could be done.
    fn save(&self, core: &Core) -> bool {
        let Some((text, no)) = self.receiver().to_keep() else {
            return true;
        };
        let saving = self.saving.lock().expect("saving");
        let written = match self.is_stopped() {
            true => Ok(()),
            false => files::replace(&self.path, text.as_bytes()),
        };
        drop(saving);
        let mut receiver = self.receiver();
        // Told even when it could not be: better twice than never.
        receiver.kept(no);
        let Err(error) = written else {
            return true;
        };
        receiver.not_kept();
        drop(receiver);
        core.notice(error.to_string());
        false
    }

    /// Saves and delivers for as long as the fleet names the receiver.
    fn run(&self, core: &Core) {
        let mut save_at = Mono(0);
        let send = |rule: &AlertRule, message: &Message| {
            let sent = deliver(core.resolver(), rule, message, &core.base());
            sent.map_err(|error| error.to_string())
        };
        while !self.is_stopped() {
            let heard = self.bell.heard();
            if let Some(until) = self.turn(core, &mut save_at, &send) {
                self.bell.wait(heard, until);
            }
        }
    }

    /// Saves what has changed and delivers one message with `send`; with none to deliver,
    /// when to look again. Nothing is saved before `save_at`.
    fn turn(
        &self,
        core: &Core,
        save_at: &mut Mono,
        mut send: impl FnMut(&AlertRule, &Message) -> std::result::Result<(), String>,
    ) -> Option<Mono> {
        if clock::mono() >= *save_at && !self.save(core) {
            *save_at = clock::mono().after(SAVE_AGAIN);
        }
        let now = clock::wall();
        let mut receiver = self.receiver();
        let overflow = receiver.overflow();
        let due = receiver.due(now).cloned();
        let (rule, next_at) = (receiver.rule().clone(), receiver.next_at());
        let unsaved = receiver.is_changed();
        drop(receiver);
        if let Some(told) = overflow {
            core.notice(told);
        }
        let Some(message) = due else {
            let rest = next_at.map_or(REST, |at| at.since(now).min(REST));
            let until = clock::mono().after(rest);
            return Some(if unsaved { until.min(*save_at) } else { until });
        };
        let result = send(&rule, &message);
        let told = self.receiver().tried(&message.id, result, clock::wall());
        if clock::mono() >= *save_at && !self.save(core) {
            *save_at = clock::mono().after(SAVE_AGAIN);
        }
        if let Some(told) = told {
            core.notice(told);
        }
        None
    }
}

#[cfg(test)]
impl Posts {
    /// Does what the receivers' threads would do now; when they would look again.
    pub fn turn_all(
        &self,
        core: &Core,
        save_at: &mut BTreeMap<Name, Mono>,
        send: &mut dyn FnMut(&Message) -> std::result::Result<(), String>,
    ) -> Mono {
        let posts = self.posts.lock().expect("posts").clone();
        let mut next = clock::mono().after(REST);
        for (name, post) in posts {
            let save_at = save_at.entry(name).or_insert(Mono(0));
            let until = loop {
                if let Some(until) = post.turn(core, save_at, |_, message| send(message)) {
                    break until;
                }
            };
            next = next.min(until);
        }
        next
    }
}
