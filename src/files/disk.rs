//! What the file system is asked for, each thing in one place. A thread of the tests may
//! have a disk of its own, which fails, forgets and fills up as it is told to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::SystemTime;

#[cfg(test)]
use super::simulated;

/// A file being read, from its start.
#[derive(Debug)]
pub enum ReadFile {
    Real(File),
    #[cfg(test)]
    Simulated(simulated::Reading),
}

impl Read for ReadFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            ReadFile::Real(file) => file.read(buffer),
            #[cfg(test)]
            ReadFile::Simulated(file) => file.read(buffer),
        }
    }
}

/// A file being written, each time at its end.
#[derive(Debug)]
pub enum WriteFile {
    Real(File),
    #[cfg(test)]
    Simulated(simulated::Writing),
}

impl WriteFile {
    /// Makes all that was written durable.
    pub fn sync(&self) -> io::Result<()> {
        match self {
            WriteFile::Real(file) => file.sync_data(),
            #[cfg(test)]
            WriteFile::Simulated(file) => file.sync(),
        }
    }

    /// The same, with the file's permissions.
    pub fn sync_all(&self) -> io::Result<()> {
        match self {
            WriteFile::Real(file) => file.sync_all(),
            #[cfg(test)]
            WriteFile::Simulated(file) => file.sync(),
        }
    }

    /// Cuts it off after so many bytes.
    pub fn cut_off(&self, bytes: u64) -> io::Result<()> {
        match self {
            WriteFile::Real(file) => file.set_len(bytes),
            #[cfg(test)]
            WriteFile::Simulated(file) => file.cut_off(bytes),
        }
    }
}

impl Write for WriteFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            WriteFile::Real(file) => file.write(bytes),
            #[cfg(test)]
            WriteFile::Simulated(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What can be seen of a file without reading it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub modified: Option<SystemTime>,
    pub bytes: u64,
    pub is_file: bool,
    pub is_dir: bool,
    /// 0 where there are none.
    pub inode: u64,
}

/// Opens a file that exists.
pub fn open(path: &Path) -> io::Result<ReadFile> {
    #[cfg(test)]
    if let Some(file) = simulated::with(|disk| disk.open(path)) {
        return file.map(ReadFile::Simulated);
    }
    File::open(path).map(ReadFile::Real)
}

/// Creates a file, or empties the one that is there.
pub fn create(path: &Path) -> io::Result<WriteFile> {
    #[cfg(test)]
    if let Some(file) = simulated::with(|disk| disk.create(path)) {
        return file.map(WriteFile::Simulated);
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.open(path).map(WriteFile::Real)
}

/// Creates a file that was not there, with the permissions of `old` if that exists:
/// before it has content, so that a secret is never readable more widely than it was.
pub fn create_like(path: &Path, old: &Path) -> io::Result<WriteFile> {
    #[cfg(test)]
    if let Some(file) = simulated::with(|disk| disk.create(path)) {
        return file.map(WriteFile::Simulated);
    }
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    if let Ok(found) = fs::metadata(old) {
        file.set_permissions(found.permissions())?;
    }
    Ok(WriteFile::Real(file))
}

/// Makes durable what others have written to a file.
pub fn sync_file(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    if let Some(done) = simulated::with(|disk| disk.sync_file(path)) {
        return done;
    }
    OpenOptions::new().write(true).open(path)?.sync_data()
}

/// Looks at a file, or at what a symbolic link points to.
pub fn look(path: &Path) -> io::Result<Seen> {
    #[cfg(test)]
    if let Some(seen) = simulated::with(|disk| disk.look(path)) {
        return seen;
    }
    let found = fs::metadata(path)?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let inode = 0;
    Ok(Seen {
        modified: found.modified().ok(),
        bytes: found.len(),
        is_file: found.is_file(),
        is_dir: found.is_dir(),
        inode,
    })
}

/// The names of what is in a directory. Names that are not UTF-8 are nobody's here and
/// left out.
pub fn names(dir: &Path) -> io::Result<Vec<String>> {
    #[cfg(test)]
    if let Some(names) = simulated::with(|disk| disk.names(dir)) {
        return names;
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// Renames a file, over another if need be.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    if let Some(done) = simulated::with(|disk| disk.rename(from, to)) {
        return done;
    }
    fs::rename(from, to)
}

/// Removes a file.
pub fn remove(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    if let Some(done) = simulated::with(|disk| disk.remove(path)) {
        return done;
    }
    fs::remove_file(path)
}

/// Makes a directory and what is missing above it, for the owner alone (mode 0700 on
/// Unix). One that exists is left as it is.
pub fn make_dirs(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    if let Some(done) = simulated::with(|disk| disk.make_dirs(path)) {
        return done;
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    if let Some(done) = simulated::with(|disk| disk.sync_dir(path)) {
        return done;
    }
    sync_real_dir(path)
}

#[cfg(unix)]
fn sync_real_dir(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems (FUSE, SMB) know no sync of a directory and say so with EINVAL.
        Err(cause) if cause.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
fn sync_real_dir(_: &Path) -> io::Result<()> {
    // A directory cannot be opened for syncing here; NTFS journals names itself.
    Ok(())
}
