//! Secrets at the edge: 32 bytes nobody can guess, and files that hold keys. A key
//! file is made for its owner alone, and one that others may read is refused.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::sync_parent;
use crate::error::{Context, Error, Result};
use crate::key::{self, Key, SECRET_LEN};
use crate::model::Name;
use crate::units::size_text;

/// Bytes from the system's source of randomness.
#[cfg(unix)]
pub fn secret() -> Result<[u8; SECRET_LEN]> {
    const SOURCE: &str = "/dev/urandom";
    let mut bytes = [0; SECRET_LEN];
    let mut source = File::open(SOURCE).context(|| format!("open {SOURCE}"))?;
    source
        .read_exact(&mut bytes)
        .context(|| format!("read {SOURCE}"))?;
    Ok(bytes)
}

/// Bytes from the system's source of randomness, as far as std hands it out: it seeds
/// the hasher of each thread's first map from it. The seeds of two threads are
/// independent; those of one are not. 32 seeds of 128 bits, of which a hash shows 64.
#[cfg(not(unix))]
pub fn secret() -> Result<[u8; SECRET_LEN]> {
    const THREADS: usize = 32;
    let mut seeds = Vec::new();
    for _ in 0..THREADS {
        let seed = std::thread::Builder::new()
            .name("seed".into())
            .spawn(crate::clock::random)
            .context(|| "start a thread for a random seed".to_string())?
            .join()
            .map_err(|_| Error::new("a thread for a random seed failed"))?;
        seeds.extend_from_slice(&seed.to_be_bytes());
    }
    Ok(crate::crypto::sha256(&seeds))
}

/// Reads the keys of a file, the one to use first.
///
/// # Errors
/// `key file attic.key: others may read it (mode 644): chmod 600 attic.key`, that it is
/// empty, and what is wrong with its text, which is never shown.
pub fn read_keys(path: &Path) -> Result<Vec<Key>> {
    let keys = keys_in(path)?;
    match keys.is_empty() {
        true => Err(Error::new(format!("key file {}: empty", path.display()))),
        false => Ok(keys),
    }
}

/// As [`read_keys`]; an empty file has none.
fn keys_in(path: &Path) -> Result<Vec<Key>> {
    let bytes = read_private(path, "key file", key::FILE_BYTES_MAX)?;
    let keys = key::parse_file(&bytes);
    keys.map_err(|text| Error::new(format!("key file {}: {text}", path.display())))
}

/// Reads a file that is for its owner alone; `what` it is goes into the error.
pub fn read_private(path: &Path, what: &str, max: usize) -> Result<Vec<u8>> {
    let shown = path.display();
    let doing = || format!("read {what} {shown}");
    // Before it is opened: opening a pipe would wait for its other end.
    if !std::fs::metadata(path).context(doing)?.is_file() {
        return Err(Error::new(format!("{what} {shown}: not a file")));
    }
    let file = File::open(path).context(doing)?;
    if let Some(mode) = open_to_others(&file.metadata().context(doing)?) {
        return Err(Error::new(format!(
            "{what} {shown}: others may read it (mode {mode:o}): chmod 600 {shown}"
        )));
    }
    let mut bytes = Vec::new();
    let limit = max as u64;
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .context(doing)?;
    match bytes.len() > max {
        true => Err(Error::new(format!(
            "{what} {shown}: larger than {}",
            size_text(limit)
        ))),
        false => Ok(bytes),
    }
}

/// The mode of a file that its group or everyone may read or write.
#[cfg(unix)]
fn open_to_others(found: &std::fs::Metadata) -> Option<u32> {
    let mode = std::os::unix::fs::MetadataExt::mode(found) & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Who may read a file is not told by a mode here.
#[cfg(not(unix))]
fn open_to_others(_found: &std::fs::Metadata) -> Option<u32> {
    None
}

/// Writes keys to a new file, for its owner alone (mode 0600 on Unix), durably.
///
/// # Errors
/// The system's; also when the file is there already.
pub fn write_keys(path: &Path, keys: &[Key]) -> Result<()> {
    let doing = || format!("write key file {}", path.display());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.open(path).context(doing)?;
    let text: String = keys.iter().map(Key::line).collect();
    file.write_all(text.as_bytes()).context(doing)?;
    file.sync_all().context(doing)?;
    sync_parent(path).context(doing)
}

/// Whose side of a link a key file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// An agent, which has keys of its own and no master key.
    Agent,
    /// A manager, for its link to the agent of this name.
    ManagerOf(Name),
}

impl Holder {
    /// The keys for the link, out of those in the file.
    fn fit(&self, path: &Path, keys: Vec<Key>) -> Result<Vec<Key>> {
        let wrong = |text: String| Err(Error::new(format!("key file {}: {text}", path.display())));
        match (self, keys.first().map(Key::agent)) {
            (Holder::Agent, Some(None)) => wrong(
                "a master key, which never leaves its manager: tcpmon-manager keygen --agent NAME makes the agent's own"
                    .to_string(),
            ),
            (Holder::ManagerOf(name), Some(Some(other))) if name != other => {
                wrong(format!("the key of agent {other}, not of {name}"))
            }
            (Holder::ManagerOf(name), _) => Ok(keys.iter().map(|k| k.of_agent(name)).collect()),
            _ => Ok(keys),
        }
    }
}

/// A key file that is read again and again, so that keys can come and go.
///
/// A file that is empty or gone has no keys. One that can't be used is told once, and the
/// keys before it stay.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    holder: Holder,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: Vec<Key>,
    trouble: Option<String>,
}

impl KeyFile {
    /// Reads the file for the first time, when any trouble is an error; so is a file
    /// without keys.
    pub fn open(path: PathBuf, holder: Holder) -> Result<KeyFile> {
        let keys = holder.fit(&path, read_keys(&path)?)?;
        let state = State {
            keys,
            trouble: None,
        };
        Ok(KeyFile {
            path,
            holder,
            state: Mutex::new(state),
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One that is empty or not there yet.
    pub fn without_keys(path: PathBuf, holder: Holder) -> KeyFile {
        KeyFile {
            path,
            holder,
            state: Mutex::default(),
        }
    }

    /// Reads it again: the keys now, and what is to be told of it.
    pub fn reread(&self) -> (Vec<Key>, Option<String>) {
        let mut state = self.state.lock().expect("key file");
        let path = self.path.display();
        let read = keys_in(&self.path).and_then(|keys| self.holder.fit(&self.path, keys));
        let trouble = match read {
            Ok(keys) => {
                state.keys = keys;
                let none = state.keys.is_empty();
                none.then(|| format!("key file {path} is empty: its keys open nothing"))
            }
            Err(_) if !self.path.exists() => {
                state.keys.clear();
                Some(format!("key file {path} is gone: its keys open nothing"))
            }
            Err(error) => Some(format!("{error}; the keys before stay in force")),
        };
        let news = trouble.clone().filter(|_| trouble != state.trouble);
        state.trouble = trouble;
        (state.keys.clone(), news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Rights;
    use std::fs;

    fn key(byte: u8) -> Key {
        Key::master([byte; 32], Rights::Own)
    }

    #[test]
    fn a_key_file_is_written_once_and_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        write_keys(&path, &[key(1), key(2)]).unwrap();
        let lines: String = read_keys(&path).unwrap().iter().map(Key::line).collect();
        assert_eq!(lines, fs::read_to_string(&path).unwrap());
        let error = write_keys(&path, &[key(3)]).unwrap_err().to_string();
        assert!(error.contains("master.key: file exists"), "{error}");
        assert_eq!(lines, fs::read_to_string(&path).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        write_keys(&path, &[key(1)]).unwrap();
        for (mode, fine) in [
            (0o600, true),
            (0o400, true),
            (0o700, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
            (0o601, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = read_keys(&path);
            assert_eq!(read.is_ok(), fine, "{mode:o}");
            if let Err(error) = read {
                let expected = format!("(mode {mode:o}): chmod 600 ");
                assert!(error.to_string().contains(&expected), "{error}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let shown = path.display();
        let error = read_keys(&path).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("read key file {shown}: no such file or directory")
        );
        write_keys(&path, &[]).unwrap();
        let error = read_keys(&path).unwrap_err().to_string();
        assert_eq!(error, format!("key file {shown}: empty"));
    }

    #[test]
    fn keys_come_and_go_and_a_broken_file_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        write_keys(&path, &[key(1)]).unwrap();
        let holder = Holder::ManagerOf("attic".parse().unwrap());
        let file = KeyFile::open(path.clone(), holder).unwrap();
        let put = |text: &str| fs::write(&path, text).unwrap();
        let ids = |keys: Vec<Key>| keys.iter().map(Key::id).collect::<Vec<_>>();
        let attic = |byte| key(byte).of_agent(&"attic".parse().unwrap()).id();
        put(&format!("{}{}", key(2).line(), key(1).line()));
        let (keys, news) = file.reread();
        assert_eq!((ids(keys), news), (vec![attic(2), attic(1)], None));
        put("nonsense");
        for told in [true, false] {
            let (keys, news) = file.reread();
            assert_eq!(keys.len(), 2);
            assert_eq!(news.is_some(), told, "{news:?}");
        }
        put("");
        let (keys, news) = file.reread();
        assert!(keys.is_empty() && news.unwrap().contains("is empty"));
        put(&key(1).line());
        assert_eq!(ids(file.reread().0), [attic(1)]);
        fs::remove_file(&path).unwrap();
        let (keys, news) = file.reread();
        assert!(keys.is_empty() && news.unwrap().contains("is gone"));
        write_keys(&path, &[key(3)]).unwrap();
        assert_eq!(ids(file.reread().0), [attic(3)]);
    }

    #[test]
    fn each_side_takes_only_what_is_meant_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let attic: Name = "attic".parse().unwrap();
        let put = |name: &str, key: Key| {
            let path = dir.path().join(name);
            write_keys(&path, &[key]).unwrap();
            path
        };
        let master = put("master", key(1));
        let own = put("own", key(1).of_agent(&attic));
        let manager = |name: &str| Holder::ManagerOf(name.parse().unwrap());
        for (path, holder, expected) in [
            (&master, Holder::Agent, "a master key, which never leaves"),
            (&own, Holder::Agent, ""),
            (&master, manager("attic"), ""),
            (&own, manager("attic"), ""),
            (
                &own,
                manager("cellar"),
                "the key of agent attic, not of cellar",
            ),
        ] {
            match KeyFile::open(path.clone(), holder.clone()) {
                Ok(file) => {
                    assert_eq!(expected, "", "{holder:?}");
                    assert_eq!(file.reread().0[0].id(), key(1).of_agent(&attic).id());
                }
                Err(error) => assert!(error.to_string().contains(expected), "{error}"),
            }
        }
    }

    #[test]
    fn secrets_differ() {
        let (a, b) = (secret().unwrap(), secret().unwrap());
        assert_ne!(a, b);
        assert_ne!(a[..16], a[16..]);
    }
}
