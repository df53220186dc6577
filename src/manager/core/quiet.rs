//! What the running manager leaves alone. Always: a silence is on disk before it is in
//! force and before it is answered for; the log is never locked while the disk works.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use super::Core;
use crate::clock;
use crate::config::Fleet;
use crate::error::Result;
use crate::manager::quiet::{self, Entry, News, QuietLog, Which};
use crate::model::Wall;
use crate::quiet::Pattern;

/// The log, and who writes it.
pub(super) struct Quiet {
    log: Mutex<QuietLog>,
    /// Held by whoever changes the log, until that is on disk.
    disk: Mutex<Disk>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// It has what the log has.
    Same,
    /// A write failed, and that was told.
    Behind,
}

impl Quiet {
    pub fn load(data: &Path) -> Result<Quiet> {
        Ok(Quiet {
            log: Mutex::new(QuietLog::load(data)?),
            disk: Mutex::new(Disk::Same),
        })
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("quiet disk")
    }
}

impl Core {
    /// What is left alone, to ask whether a target is. Not to be held for long.
    pub fn quiet(&self) -> MutexGuard<'_, QuietLog> {
        self.quiet.log.lock().expect("quiet")
    }

    /// All that is left alone now or about to be, oldest first.
    pub fn silences(&self) -> Vec<Entry> {
        self.quiet().open(clock::wall()).cloned().collect()
    }

    /// Silences targets from now on; what came of it, in words.
    ///
    /// # Errors
    /// A pattern means no target, a limit forbids it, or it cannot be written: then it is
    /// not in force.
    pub fn silence(&self, targets: Vec<Pattern>, until: Wall, note: &str) -> Result<String> {
        let fleet = self.fleet();
        self.change_quiet(|log, now| quiet::silence(log, &fleet, targets, until, note, now))
    }

    /// Lifts silences; what came of it, in words.
    ///
    /// # Errors
    /// There is no such silence, or it cannot be written: then it stays.
    pub fn unsilence(&self, which: &Which) -> Result<String> {
        self.change_quiet(|log, now| quiet::unsilence(log, which, now))
    }

    fn change_quiet(
        &self,
        change: impl FnOnce(&mut QuietLog, Wall) -> Result<Vec<News>>,
    ) -> Result<String> {
        let mut disk = self.quiet.disk();
        let mut log = self.quiet().clone();
        let news = change(&mut log, clock::wall())?;
        if !news.is_empty() {
            log.save(self.data())?;
            *disk = Disk::Same;
            *self.quiet() = log;
        }
        drop(disk);
        self.board.lock().expect("board").ask_quiet_again();
        self.tell(&news);
        Ok(quiet::told(&news))
    }

    /// Notes which maintenance windows of the fleet begin and end, and which silences
    /// are over. Before there is a fleet nobody knows what is planned.
    pub(super) fn watch_quiet(&self) {
        let (fleet, known) = {
            let state = self.fleet_state();
            let known = state.path.is_some() || *state.fleet != Fleet::default();
            (state.fleet.clone(), known)
        };
        if known {
            self.update_quiet(|log| log.observe(&fleet.maintenance, clock::wall()));
        }
    }

    /// Forgets what was over before the history begins.
    pub(super) fn prune_quiet(&self) {
        let before = clock::wall().before(self.options.limits.age);
        self.update_quiet(|log| {
            log.prune(before);
            Vec::new()
        });
    }

    /// Makes a change that holds even when it cannot be written; that is tried again.
    fn update_quiet(&self, change: impl FnOnce(&mut QuietLog) -> Vec<News>) {
        let mut disk = self.quiet.disk();
        let (news, copy) = {
            let mut log = self.quiet();
            let count = log.entries().len();
            let news = change(&mut log);
            let changed = !news.is_empty() || log.entries().len() != count;
            (
                news,
                (changed || *disk == Disk::Behind).then(|| log.clone()),
            )
        };
        let saved = copy.map(|log| log.save(self.data()));
        let trouble = match (&saved, *disk) {
            (Some(Err(error)), Disk::Same) => Some(error.to_string()),
            _ => None,
        };
        if let Some(saved) = saved {
            *disk = match saved {
                Ok(()) => Disk::Same,
                Err(_) => Disk::Behind,
            };
        }
        drop(disk);
        self.tell(&news);
        trouble.into_iter().for_each(|text| self.notice(text));
    }

    fn tell(&self, news: &[News]) {
        news.iter().for_each(|news| self.notice(news.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::{FleetTarget, KeyRule};
    use crate::manager::core::Options;
    use crate::manager::history::Limits;
    use crate::quiet::{Maintenance, Span, When};

    const HOUR_MS: u64 = 3_600_000;

    fn start(data: &Path) -> Arc<Core> {
        let limits = Limits {
            bytes: 1 << 20,
            age: Duration::from_secs(86_400),
        };
        let options = Options {
            data: data.to_path_buf(),
            name: "main".parse().unwrap(),
            take_over: false,
            limits,
            key_rule: KeyRule::Waived,
            listen: None,
        };
        Core::start(options).unwrap()
    }

    fn fleet(windows: &[Maintenance]) -> Fleet {
        let name = "db".parse().unwrap();
        Fleet {
            targets: vec![FleetTarget::new(name, "h:1".parse().unwrap())],
            maintenance: windows.to_vec(),
            ..Fleet::default()
        }
    }

    fn is_quiet(core: &Core) -> bool {
        let db = "db".parse().unwrap();
        core.quiet().active(&db, clock::wall()).is_some()
    }

    #[test]
    fn maintenance_is_in_force_with_the_fleet_that_plans_it() {
        let dir = tempfile::tempdir().unwrap();
        let now = clock::wall().0;
        let span = Span {
            from: Wall(now - HOUR_MS),
            until: Wall(now + HOUR_MS),
        };
        let window = Maintenance {
            targets: vec!["d*".parse().unwrap()],
            when: When::Once(span),
            exclude: false,
        };
        let core = start(dir.path());
        // Nobody knows yet what is planned: what is open stays open.
        core.update_quiet(|log| log.observe(std::slice::from_ref(&window), Wall(now)));
        core.watch_quiet();
        assert!(is_quiet(&core));
        core.change(fleet(&[window])).unwrap();
        assert_eq!(core.silences()[0].span, span);
        assert_eq!(QuietLog::load(dir.path()).unwrap(), *core.quiet());
        let told = core.notices();
        assert!(told[0].starts_with("maintenance of d* until "), "{told:?}");
        core.change(fleet(&[])).unwrap();
        assert!(!is_quiet(&core));
        let told = core.notices();
        assert_eq!(
            told,
            ["maintenance of d* is over: it is not planned any more"]
        );
    }

    #[test]
    fn what_cannot_be_written_is_no_silence_and_is_tried_again_for_windows() {
        let dir = tempfile::tempdir().unwrap();
        let core = start(dir.path());
        let file = dir.path().join("quiet.json");
        std::fs::create_dir(&file).unwrap();
        let until = Wall(clock::wall().0 + HOUR_MS);
        let db = vec!["db".parse().unwrap()];
        let error = core.silence(db.clone(), until, "").unwrap_err();
        assert!(error.to_string().starts_with("write "), "{error}");
        assert!(!is_quiet(&core));
        let window = Maintenance {
            targets: db,
            when: When::Once(Span {
                from: Wall(0),
                until,
            }),
            exclude: false,
        };
        core.change(fleet(&[window])).unwrap();
        core.watch_quiet();
        core.watch_quiet();
        assert!(is_quiet(&core));
        let told = core.notices();
        let failures = told.iter().filter(|text| text.starts_with("write "));
        assert_eq!(failures.count(), 1, "{told:?}");
        std::fs::remove_dir(&file).unwrap();
        core.watch_quiet();
        assert_eq!(QuietLog::load(dir.path()).unwrap(), *core.quiet());
    }

    #[test]
    fn what_is_older_than_the_history_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let core = start(dir.path());
        let now = clock::wall().0;
        core.update_quiet(|log| {
            for ago_ms in [25 * HOUR_MS, 23 * HOUR_MS] {
                let then = Wall(now - ago_ms);
                let x = vec!["x".parse().unwrap()];
                log.silence(x, Wall(then.0 + 1), "", then).unwrap();
            }
            Vec::new()
        });
        core.prune_quiet();
        let left = |log: &QuietLog| log.entries().iter().map(|e| e.no).collect::<Vec<_>>();
        assert_eq!(left(&core.quiet()), [2]);
        assert_eq!(left(&QuietLog::load(dir.path()).unwrap()), [2]);
    }
}
