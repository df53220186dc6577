//! A disk for one thread of the tests. It keeps apart what was written and what is
//! durable, file by file and name by name, so that a power cut can take away what POSIX
//! lets it take away. A host is all that lies below one directory.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use super::disk::Seen;
use crate::clock::{self, simulated::Dice};

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// So many of them are durable.
    synced: usize,
    /// A sync failed here: what lies beyond never becomes durable (on Linux the pages
    /// count as clean afterwards).
    lost_from: Option<usize>,
    /// Since 1970.
    modified: Duration,
    inode: u64,
}

/// A file that may have several names, or none any more.
type Node = Arc<Mutex<Content>>;

fn lock(node: &Node) -> MutexGuard<'_, Content> {
    node.lock().expect("simulated file")
}

/// A change of a name that is not durable yet.
#[derive(Debug, Clone)]
enum Change {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// How many more operations each host's disk takes before it fails, and how it does; for
/// ever if not named.
type Allowances = Arc<Mutex<BTreeMap<PathBuf, (u64, Failing)>>>;

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// It is full: what is written can still be made durable.
    Full,
    /// It breaks: what could not be made durable never will be, whatever a later sync says.
    Broken,
}

/// See the module text.
#[derive(Debug, Default)]
pub struct Disk {
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    changes: Vec<Change>,
    allowances: Allowances,
    inodes: u64,
}

thread_local! {
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// The thread's disk is simulated until this is dropped.
#[derive(Debug)]
pub struct Simulated(());

impl Drop for Simulated {
    fn drop(&mut self) {
        DISK.with(|disk| *disk.borrow_mut() = None);
    }
}

/// Has this thread work on an empty disk in memory.
pub fn start() -> Simulated {
    DISK.with(|disk| *disk.borrow_mut() = Some(Disk::default()));
    Simulated(())
}

/// Does something with the thread's disk; `None` where it has the real one.
pub fn with<T>(what: impl FnOnce(&mut Disk) -> T) -> Option<T> {
    DISK.with(|disk| disk.borrow_mut().as_mut().map(what))
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

/// Uses up one operation of the host that `path` belongs to.
fn spend(allowances: &Allowances, path: &Path) -> io::Result<()> {
    let mut allowances = allowances.lock().expect("allowances");
    for (host, (left, _)) in allowances.iter_mut() {
        if path.starts_with(host) {
            *left = left.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        }
    }
    Ok(())
}

/// The same for a sync, which needs no room.
fn spend_on_sync(allowances: &Allowances, path: &Path) -> io::Result<()> {
    let is_full = |(host, (_, failing)): (&PathBuf, &(u64, Failing))| {
        path.starts_with(host) && *failing == Failing::Full
    };
    if allowances.lock().expect("allowances").iter().any(is_full) {
        return Ok(());
    }
    spend(allowances, path)
}

impl Disk {
    fn node(&self, path: &Path) -> io::Result<&Node> {
        self.names.get(path).ok_or_else(not_found)
    }

    pub(super) fn open(&mut self, path: &Path) -> io::Result<Reading> {
        let node = Arc::clone(self.node(path)?);
        Ok(Reading { node, at: 0 })
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<Writing> {
        spend(&self.allowances, path)?;
        if !path.parent().is_some_and(|dir| self.dirs.contains(dir)) {
            return Err(not_found());
        }
        let node = match self.names.get(path) {
            Some(node) => {
                let mut there = lock(node);
                there.bytes.clear();
                (there.synced, there.lost_from) = (0, None);
                drop(there);
                Arc::clone(node)
            }
            None => self.link_new(path),
        };
        let mut writing = Writing {
            path: path.to_path_buf(),
            node,
            allowances: Arc::clone(&self.allowances),
        };
        writing.touch();
        Ok(writing)
    }

    fn link_new(&mut self, path: &Path) -> Node {
        self.inodes += 1;
        let node = Node::new(Mutex::new(Content {
            inode: self.inodes,
            ..Content::default()
        }));
        self.change(Change::Link(path.to_path_buf(), Arc::clone(&node)));
        node
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    pub(super) fn look(&mut self, path: &Path) -> io::Result<Seen> {
        if self.dirs.contains(path) {
            return Ok(Seen {
                modified: None,
                bytes: 0,
                is_file: false,
                is_dir: true,
                inode: 0,
            });
        }
        let node = lock(self.node(path)?);
        Ok(Seen {
            modified: Some(SystemTime::UNIX_EPOCH + node.modified),
            bytes: node.bytes.len() as u64,
            is_file: true,
            is_dir: false,
            inode: node.inode,
        })
    }

    pub(super) fn names(&mut self, dir: &Path) -> io::Result<Vec<String>> {
        if !self.dirs.contains(dir) {
            return Err(not_found());
        }
        let within = self.dirs.iter().chain(self.names.keys());
        let within = within.filter(|path| path.parent() == Some(dir));
        let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_string());
        Ok(within.filter_map(name).collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        spend(&self.allowances, to)?;
        self.node(from)?;
        self.change(Change::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.node(path)?;
        self.change(Change::Unlink(path.to_path_buf()));
        Ok(())
    }

    pub(super) fn make_dirs(&mut self, path: &Path) -> io::Result<()> {
        self.dirs.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        spend_on_sync(&self.allowances, dir)?;
        let (here, elsewhere) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| change.dir() == Some(dir));
        self.changes = elsewhere;
        here.iter().for_each(|c| apply(&mut self.durable, c));
        Ok(())
    }

    pub(super) fn sync_file(&mut self, path: &Path) -> io::Result<()> {
        let file = Writing {
            path: path.to_path_buf(),
            node: Arc::clone(self.node(path)?),
            allowances: Arc::clone(&self.allowances),
        };
        file.sync()
    }

    /// Has the disk of the host below `root` fail after so many more operations; `None` for
    /// never.
    pub fn fail(&mut self, root: &Path, after: Option<(u64, Failing)>) {
        let mut allowances = self.allowances.lock().expect("allowances");
        match after {
            Some(after) => allowances.insert(root.to_path_buf(), after),
            None => allowances.remove(root),
        };
    }

    /// Whether something below `root` can be read that will never be durable.
    pub fn has_lost(&self, root: &Path) -> bool {
        let mut below = self.names.iter().filter(|(path, _)| path.starts_with(root));
        below.any(|(_, node)| lock(node).lost_from.is_some())
    }

    /// Cuts the power of the host below `root`. Of what was not made durable some is
    /// there all the same: of the changes of names in a directory the first few, of a
    /// file's bytes the first few, the last of which may be zeros.
    pub fn cut_power(&mut self, root: &Path, dice: &mut Dice) {
        let (here, elsewhere) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition::<Vec<_>, _>(|change| change.dir().is_some_and(|d| d.starts_with(root)));
        self.changes = elsewhere;
        let mut stopped = BTreeSet::new();
        for change in here {
            let dir = change.dir().map(Path::to_path_buf);
            if !stopped.contains(&dir) && dice.once_in(2) {
                apply(&mut self.durable, &change);
            } else {
                stopped.insert(dir);
            }
        }
        self.names.retain(|path, _| !path.starts_with(root));
        let survivors = self.durable.iter().filter(|(p, _)| p.starts_with(root));
        for (path, node) in survivors {
            lock(node).cut_power(dice);
            self.names.insert(path.clone(), Arc::clone(node));
        }
    }

    /// Copies what lies below `from` to `to`: a backup, or a cloned host.
    pub fn copy(&mut self, from: &Path, to: &Path) {
        self.wipe(to);
        let moved = |path: &Path| to.join(path.strip_prefix(from).expect("below it"));
        let dirs = self.dirs.iter().filter(|path| path.starts_with(from));
        let dirs: Vec<PathBuf> = dirs.map(|path| moved(path)).collect();
        self.dirs.extend(dirs);
        let below = self.names.iter().filter(|(path, _)| path.starts_with(from));
        let copies: Vec<(PathBuf, Node)> = below
            .map(|(path, node)| {
                let old = lock(node);
                let copy = Content {
                    bytes: old.bytes.clone(),
                    synced: old.bytes.len(),
                    ..Content::default()
                };
                (moved(path), Arc::new(Mutex::new(copy)))
            })
            .collect();
        self.durable.extend(copies.iter().cloned());
        self.names.extend(copies);
    }

    /// Removes all that lies below `root`, for good.
    pub fn wipe(&mut self, root: &Path) {
        self.names.retain(|path, _| !path.starts_with(root));
        self.durable.retain(|path, _| !path.starts_with(root));
        self.dirs.retain(|path| !path.starts_with(root));
        let elsewhere = |change: &Change| !change.dir().is_some_and(|d| d.starts_with(root));
        self.changes.retain(elsewhere);
    }

    /// The files below `root`, with what they hold.
    pub fn files(&self, root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let below = self.names.iter().filter(|(path, _)| path.starts_with(root));
        below
            .map(|(path, node)| (path.clone(), lock(node).bytes.clone()))
            .collect()
    }
}

impl Change {
    /// The directory whose names it changes: all renames here stay in one.
    fn dir(&self) -> Option<&Path> {
        match self {
            Change::Link(path, _) | Change::Unlink(path) | Change::Rename(_, path) => path.parent(),
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, change: &Change) {
    match change {
        Change::Link(path, node) => {
            names.insert(path.clone(), Arc::clone(node));
        }
        Change::Unlink(path) => {
            names.remove(path);
        }
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

impl Content {
    fn cut_power(&mut self, dice: &mut Dice) {
        let end = self.lost_from.unwrap_or(self.bytes.len());
        let unsynced = end.saturating_sub(self.synced) as u64;
        let kept = self.synced + dice.below(unsynced + 1) as usize;
        self.bytes.truncate(kept);
        if kept > self.synced && dice.once_in(4) {
            let zeros = self.synced + dice.below((kept - self.synced) as u64) as usize;
            self.bytes[zeros..].fill(0);
        }
        self.synced = kept;
        self.lost_from = None;
    }
}

/// A simulated file being read.
#[derive(Debug)]
pub struct Reading {
    node: Node,
    at: usize,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let node = lock(&self.node);
        let mut rest = node.bytes.get(self.at..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

/// A simulated file being written.
#[derive(Debug)]
pub struct Writing {
    path: PathBuf,
    node: Node,
    allowances: Allowances,
}

impl Writing {
    fn touch(&mut self) {
        lock(&self.node).modified = Duration::from_millis(clock::wall().0);
    }

    pub(super) fn cut_off(&self, bytes: u64) -> io::Result<()> {
        let mut node = lock(&self.node);
        node.bytes.truncate(bytes as usize);
        // Whether that is durable is another matter: what was, may come back.
        node.synced = node.synced.min(bytes as usize);
        node.lost_from = None;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        let done = spend_on_sync(&self.allowances, &self.path);
        let mut node = lock(&self.node);
        match done {
            Ok(()) => node.synced = node.lost_from.unwrap_or(node.bytes.len()),
            Err(_) => node.lost_from = Some(node.synced),
        }
        done
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.touch();
        let done = spend(&self.allowances, &self.path);
        // As a full disk does: some bytes still go in.
        let part = match done {
            Ok(()) => bytes,
            Err(_) => &bytes[..bytes.len() / 2],
        };
        lock(&self.node).bytes.extend_from_slice(part);
        done.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
