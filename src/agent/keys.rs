//! The keys of the managers that this agent obeys, one key file each. They are read
//! again at every handshake and every few seconds, so a key that is added opens the
//! door, and one that is removed ends its sessions.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Agent;
use super::managers::MANAGERS_MAX;
use crate::clock;
use crate::error::{Context, Error, Result};
use crate::files::{self, Holder, KeyFile};
use crate::key::Key;
use crate::log;
use crate::threads;

/// How often key files are looked at between handshakes.
const READ_EVERY: Duration = Duration::from_secs(5);
/// Most key files: one for each manager that may be known.
pub const FILES_MAX: usize = MANAGERS_MAX;
const STACK_BYTES: usize = 128 * 1024;

/// The agent's key files; none means that it talks without keys.
pub struct Keys {
    files: Vec<KeyFile>,
}

impl Keys {
    /// Reads the files for the first time, when any trouble is an error. Only that one of
    /// several is empty or gone is not: that is how a manager is revoked, and an agent
    /// that starts again after a power cut is to go on for the others.
    pub fn open(paths: Vec<PathBuf>) -> Result<Keys> {
        if paths.len() > FILES_MAX {
            return Err(Error::new(format!("more than {FILES_MAX} key files")));
        }
        let revoked = |path: &PathBuf| !path.exists() || files::is_empty(path);
        let (gone, there): (Vec<_>, Vec<_>) = paths.into_iter().partition(revoked);
        let (gone, there) = match there.is_empty() {
            true => (there, gone),
            false => (gone, there),
        };
        let open = |path| KeyFile::open(path, Holder::Agent);
        let mut files = there.into_iter().map(open).collect::<Result<Vec<_>>>()?;
        let without = |path| KeyFile::without_keys(path, Holder::Agent);
        files.extend(gone.into_iter().map(without));
        Ok(Keys { files })
    }

    /// The keys as they are now, those of the first file first; `None` without key files.
    pub fn now(&self) -> Option<Vec<Key>> {
        if self.files.is_empty() {
            return None;
        }
        let mut all = Vec::new();
        for file in &self.files {
            let (keys, news) = file.reread();
            if let Some(news) = news {
                log::line(news);
            }
            all.extend(keys);
        }
        Some(all)
    }
}

/// Ends sessions whose key is removed, from now on.
pub fn watch(agent: &Arc<Agent>) -> Result<()> {
    if agent.keys.files.is_empty() {
        return Ok(());
    }
    let agent = Arc::clone(agent);
    let work = move || {
        loop {
            clock::sleep(READ_EVERY);
            let keys = agent.keys.now().unwrap_or_default();
            if agent.managers().end_without(&keys) {
                agent.bell.ring();
            }
        }
    };
    threads::start("keys", STACK_BYTES, work)
        .context(|| "start the thread that reads key files".to_string())?;
    Ok(())
}
