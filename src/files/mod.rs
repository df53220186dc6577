//! Files and directories outside the journal: bounded reads, files replaced
//! whole, the data directory and its lock, key files and random bytes. Where data lies is decided by a pure
//! function over the environment. What always holds: a file written here is,
//! after any crash, either the old one or the new one, whole.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::clock;
use crate::error::{Context, Error, Result};
use crate::model::{Id, Name, Wall};
use crate::units::size_text;

pub mod disk;
mod lock;
mod process;
mod secret;
mod token;

/// More than an id needs.
const ID_BYTES_MAX: usize = 64;
/// More than a host's name needs.
const HOST_NAME_BYTES_MAX: usize = 4096;

pub use lock::{DirLock, lock, try_lock};
pub use process::write_process;
pub use secret::{Holder, KeyFile, read_keys, secret, write_keys};
pub use token::TokenFile;

/// Reads a whole file of at most `max` bytes. A larger one is an error and
/// costs no more memory than `max`.
pub fn read_bounded(path: &Path, max: usize) -> Result<Vec<u8>> {
    let doing = || format!("read {}", path.display());
    let file = disk::open(path).context(doing)?;
    let mut bytes = Vec::new();
    file.take((max as u64).saturating_add(1))
        .read_to_end(&mut bytes)
        .context(doing)?;
    if bytes.len() > max {
        let limit = size_text(max as u64);
        return Err(Error::new(format!("{}: larger than {limit}", doing())));
    }
    Ok(bytes)
}

/// Whether there is a directory.
pub fn is_dir(path: &Path) -> bool {
    disk::look(path).is_ok_and(|found| found.is_dir)
}

/// Whether there is a file of no bytes.
pub fn is_empty(path: &Path) -> bool {
    disk::look(path).is_ok_and(|found| found.is_file && found.bytes == 0)
}

/// Replaces a file whole and durably: a temporary file beside it is written,
/// synced and renamed over it, then the directory is synced. A symbolic link
/// stays and its file is replaced; an existing file keeps its permissions.
/// On failure the old file is untouched and the temporary one is removed.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_parts(path, &[bytes])
}

/// The same with content that lies in parts.
pub fn replace_parts(path: &Path, parts: &[&[u8]]) -> Result<()> {
    replace_inner(path, parts).context(|| format!("write {}", path.display()))
}

fn replace_inner(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let path = match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => fs::canonicalize(path)?,
        _ => path.to_path_buf(),
    };
    let temp = beside(&path)?;
    let done = write_new(&temp, &path, parts).and_then(|()| disk::rename(&temp, &path));
    if let Err(cause) = done {
        // The first failure is the one to tell; a temp that cannot go either changes nothing.
        let _ = disk::remove(&temp);
        return Err(cause);
    }
    sync_parent(&path)
}

/// A name nobody else uses in the same directory, so that the rename stays
/// within one file system.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a file's name",
        ));
    };
    let mut temp = OsString::from(".");
    temp.push(name);
    temp.push(format!(".{:016x}.tmp", clock::random()));
    Ok(path.with_file_name(temp))
}

fn write_new(temp: &Path, old: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = disk::create_like(temp, old)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// Makes the names in a file's directory durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    disk::sync_dir(parent.unwrap_or(Path::new(".")))
}

/// Makes a directory and what is missing above it, for the owner alone (mode
/// 0700 on Unix). One that exists is left as it is.
pub fn ensure_dir(path: &Path) -> Result<()> {
    disk::make_dirs(path).context(|| format!("create directory {}", path.display()))
}

/// Renames a file that can't be used, so that it can be looked at; its new name.
pub fn set_aside(path: &Path) -> Result<String> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".bad");
    let aside = PathBuf::from(aside);
    disk::rename(path, &aside).context(|| format!("set {} aside", path.display()))?;
    Ok(aside.display().to_string())
}

/// Removes a file, or says why it could not; one that is gone already is fine.
pub fn remove(path: &Path) -> Result<()> {
    match disk::remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// When a file was last written; `None` when that can't be told.
pub fn modified(path: &Path) -> Option<Wall> {
    let stamp = disk::look(path).ok()?.modified?;
    let since = stamp.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().map(Wall)
}

/// The names of what is in a directory; none when there is no such directory.
/// Names that are not UTF-8 are nobody's here and left out.
pub fn names_in(dir: &Path) -> Result<Vec<String>> {
    match disk::names(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.context(|| format!("read {}", dir.display())),
    }
}

/// The host's name as a valid name (from the kernel on Linux, else the environment),
/// or `fallback`.
pub fn host_name(fallback: &str) -> Name {
    let kernel = read_bounded(Path::new("/proc/sys/kernel/hostname"), HOST_NAME_BYTES_MAX);
    let kernel = kernel.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let names = kernel.into_iter().chain(
        ["HOSTNAME", "COMPUTERNAME"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok()),
    );
    let mut valid = names.filter_map(|name| name.trim().parse().ok());
    valid
        .next()
        .unwrap_or_else(|| fallback.parse().expect("a valid fallback"))
}

/// The identity kept in a data directory as the file `id`, made on first use.
pub fn own_id(dir: &Path) -> Result<Id> {
    let path = dir.join("id");
    if stamp(&path).is_none() {
        let id = Id(clock::random());
        replace(&path, format!("{id}\n").as_bytes())?;
        return Ok(id);
    }
    let bytes = read_bounded(&path, ID_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let id = text.trim_end().parse();
    id.map_err(|expected: String| Error::new(format!("read {}: {expected}", path.display())))
}

/// What tells one state of a file from another without reading it: when it was
/// modified, its length, and its inode (0 where there are none).
pub type Stamp = (Option<SystemTime>, u64, u64);

/// A file's stamp, or `None` when it cannot be seen. A file that was edited or
/// replaced has another stamp.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let found = disk::look(path).ok()?;
    Some((found.modified, found.bytes, found.inode))
}

/// Where `program` (`agent` or `manager`) keeps its data: the directory given
/// with `--data`, else `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/tcpmon/PROGRAM`,
/// else `~/.local/state/tcpmon/PROGRAM`; on Windows `%LOCALAPPDATA%\tcpmon\PROGRAM`
/// instead of the last two. Does not create it.
pub fn data_dir(program: &str, given: Option<&str>) -> Result<PathBuf> {
    let system = if cfg!(windows) {
        System::Windows
    } else {
        System::Unix
    };
    data_dir_in(system, program, given, |name| std::env::var_os(name))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Unix,
    Windows,
}

fn data_dir_in(
    system: System,
    program: &str,
    given: Option<&str>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf> {
    let set = |name: &str| {
        let value = env(name).filter(|value| !value.is_empty())?;
        Some(PathBuf::from(value))
    };
    match given {
        Some("") => return Err(Error::new("expected a directory after --data, found none")),
        Some(dir) => return Ok(PathBuf::from(dir)),
        None => {}
    }
    if let Some(dir) = set("STATE_DIRECTORY") {
        return Ok(first_of(system, dir));
    }
    let (home, hint) = match system {
        System::Windows => (set("LOCALAPPDATA"), "LOCALAPPDATA"),
        System::Unix => {
            // The XDG base directory specification: a relative path there is to be ignored.
            let state = set("XDG_STATE_HOME").filter(|dir| dir.has_root());
            let home = || set("HOME").map(|home| home.join(".local").join("state"));
            (state.or_else(home), "HOME")
        }
    };
    match home {
        Some(home) => Ok(home.join("tcpmon").join(program)),
        None => Err(Error::new(format!(
            "no place for the data directory: give --data DIR or set {hint}"
        ))),
    }
}

/// The first directory of `$STATE_DIRECTORY`: systemd separates several by colons.
fn first_of(system: System, list: PathBuf) -> PathBuf {
    match (system, list.to_str()) {
        (System::Unix, Some(text)) => PathBuf::from(text.split(':').next().unwrap_or(text)),
        _ => list,
    }
}

#[cfg(test)]
pub mod simulated;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_read_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        let error = read_bounded(&path, 4).unwrap_err().to_string();
        assert_eq!(error, format!("read {}: larger than 4B", path.display()));
        let missing = dir.path().join("none");
        let error = read_bounded(&missing, 4).unwrap_err().to_string();
        assert!(error.starts_with(&format!("read {}: ", missing.display())));
    }

    /// Its length has a rest of 32 bits that would pass as small, its time comes after
    /// 2038-01-19, where seconds of 31 bits end.
    #[test]
    fn a_file_beyond_32_bits_is_seen_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let file = fs::File::create(&path).unwrap();
        file.set_len((1 << 32) + 3).unwrap();
        let late = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs((1 << 31) + 60);
        file.set_modified(late).unwrap();
        let (modified, bytes, _) = stamp(&path).unwrap();
        assert_eq!((modified, bytes), (Some(late), (1 << 32) + 3));
        let error = read_bounded(&path, 4).unwrap_err().to_string();
        assert_eq!(error, format!("read {}: larger than 4B", path.display()));
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleet.json");
        for text in ["one", "two, longer", ""] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
            assert_eq!(names(dir.path()), ["fleet.json"]);
        }
    }

    #[test]
    fn a_failed_replacement_leaves_the_directory_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        fs::create_dir(&taken).unwrap();
        let error = replace(&taken, b"x").unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("write {}: ", taken.display())),
            "{error}"
        );
        assert_eq!(names(dir.path()), ["taken"]);
        assert!(replace(&dir.path().join("no/such/dir"), b"x").is_err());
        assert!(replace(Path::new("/"), b"x").is_err());
        assert_eq!(names(dir.path()), ["taken"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_keeps_its_link_and_its_mode() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, b"old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real", &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
        let mode = fs::metadata(&real).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_directory_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        ensure_dir(&deep).unwrap();
        ensure_dir(&deep).unwrap();
        let mode = fs::metadata(&deep).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(deep.join("file"), b"").unwrap();
        assert!(ensure_dir(&deep.join("file")).is_err());
    }

    #[test]
    fn a_stamp_changes_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        assert_eq!(stamp(&path), None);
        replace(&path, b"one").unwrap();
        let first = stamp(&path);
        assert!(first.is_some());
        assert_eq!(stamp(&path), first);
        replace(&path, b"four").unwrap();
        assert_ne!(stamp(&path), first);
    }

    /// The system, `--data`, the environment, and the directory or the error's end.
    type Case = (
        System,
        Option<&'static str>,
        &'static [(&'static str, &'static str)],
        std::result::Result<&'static str, &'static str>,
    );

    #[test]
    fn the_data_directory_follows_the_environment() {
        use System::{Unix, Windows};
        let all = &[
            ("STATE_DIRECTORY", "/var/lib/tcpmon"),
            ("XDG_STATE_HOME", "/xdg"),
            ("HOME", "/home/me"),
        ];
        let cases: &[Case] = &[
            (Unix, Some("here"), all, Ok("here")),
            (Unix, Some(""), all, Err("found none")),
            (Unix, None, all, Ok("/var/lib/tcpmon")),
            (Unix, None, &[("STATE_DIRECTORY", "/a:/b")], Ok("/a")),
            (Unix, None, &all[1..], Ok("/xdg/tcpmon/agent")),
            (
                Unix,
                None,
                &all[2..],
                Ok("/home/me/.local/state/tcpmon/agent"),
            ),
            (
                Unix,
                None,
                &[
                    ("STATE_DIRECTORY", ""),
                    ("XDG_STATE_HOME", ""),
                    ("HOME", "/h"),
                ],
                Ok("/h/.local/state/tcpmon/agent"),
            ),
            (
                Unix,
                None,
                &[("XDG_STATE_HOME", "relative"), ("HOME", "/h")],
                Ok("/h/.local/state/tcpmon/agent"),
            ),
            (Unix, None, &[("HOME", "")], Err("or set HOME")),
            (
                Windows,
                None,
                &[("STATE_DIRECTORY", r"C:\state")],
                Ok(r"C:\state"),
            ),
            (
                Windows,
                None,
                &[("LOCALAPPDATA", "local"), ("HOME", "/h")],
                Ok("local/tcpmon/agent"),
            ),
            (Windows, None, &[("HOME", "/h")], Err("or set LOCALAPPDATA")),
        ];
        for (system, given, vars, want) in cases {
            let env = |name: &str| {
                let found = vars.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let got = data_dir_in(*system, "agent", *given, env);
            match (&got, want) {
                (Ok(dir), Ok(want)) => assert_eq!(dir, Path::new(want), "{vars:?}"),
                (Err(e), Err(want)) => assert!(e.to_string().ends_with(want), "{e}"),
                _ => panic!("{vars:?}: got {got:?}, want {want:?}"),
            }
        }
    }
}
