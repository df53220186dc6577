//! Reaching a running program from its own host: a Unix socket in its data directory,
//! for its owner only, bound after the directory's lock is taken. One line in, one line
//! out. Where there are no such sockets nobody listens, and asking says so.

use std::path::Path;

use crate::error::Result;

/// The socket's name within the data directory.
pub const SOCKET: &str = "control";

/// Answers every request on the socket of `dir`, one at a time, on a thread of its own.
/// The caller holds the directory's lock: a socket file that is there already is a dead one.
pub fn serve(dir: &Path, answer: impl Fn(&str) -> String + Send + 'static) -> Result<()> {
    system::serve(dir, answer)
}

/// Asks the program that runs on `dir`; `None` when none listens.
///
/// # Errors
/// It gives no answer, or this system has no such sockets.
pub fn ask(dir: &Path, request: &str) -> Result<Option<String>> {
    system::ask(dir, request)
}

#[cfg(unix)]
mod system {
    use std::fs::{self, Permissions};
    use std::io::{self, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::Path;
    use std::time::Duration;

    use super::SOCKET;
    use crate::clock;
    use crate::error::{Context, Error, Result};
    use crate::net::line::{Line, LineReader};
    use crate::threads;

    /// Longest wait for either side.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// Longest request or answer, in bytes.
    const LINE_BYTES_MAX: usize = 64 * 1024;
    /// Rest after a failed accept.
    const BACK_OFF: Duration = Duration::from_millis(100);
    const STACK_BYTES: usize = 128 * 1024;

    pub fn serve(dir: &Path, answer: impl Fn(&str) -> String + Send + 'static) -> Result<()> {
        let path = &dir.join(SOCKET);
        let doing = || format!("listen on {}", path.display());
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context(doing);
            }
            _ => {}
        }
        let listener = UnixListener::bind(path).context(doing)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).context(doing)?;
        threads::start("control", STACK_BYTES, move || {
            loop {
                match listener.accept() {
                    // A peer that breaks off has no answer coming.
                    Ok((stream, _)) => drop(converse(stream, &answer)),
                    Err(_) => clock::sleep(BACK_OFF),
                }
            }
        })
        .context(|| "start the control thread".to_string())?;
        Ok(())
    }

    fn converse(stream: UnixStream, answer: &impl Fn(&str) -> String) -> io::Result<()> {
        let mut reader = LineReader::new(patient(stream)?, LINE_BYTES_MAX);
        let reply = match reader.next_line() {
            Ok(Line::Whole(line)) => answer(&String::from_utf8_lossy(line)),
            _ => return Ok(()),
        };
        reader.source().write_all(format!("{reply}\n").as_bytes())
    }

    pub fn ask(dir: &Path, request: &str) -> Result<Option<String>> {
        let path = &dir.join(SOCKET);
        let doing = || format!("ask on {}", path.display());
        let mut stream = match UnixStream::connect(path) {
            Err(error) if is_absence(&error) => return Ok(None),
            stream => stream.and_then(patient).context(doing)?,
        };
        stream
            .write_all(format!("{request}\n").as_bytes())
            .context(doing)?;
        match LineReader::new(stream, LINE_BYTES_MAX).next_line() {
            Ok(Line::Whole(line)) => Ok(Some(String::from_utf8_lossy(line).into_owned())),
            Ok(_) => Err(Error::new(format!("{}: no answer", doing()))),
            Err(error) => Err(Error::new(format!("{}: {error}", doing()))),
        }
    }

    fn is_absence(error: &io::Error) -> bool {
        let kind = error.kind();
        kind == io::ErrorKind::NotFound || kind == io::ErrorKind::ConnectionRefused
    }

    fn patient(stream: UnixStream) -> io::Result<UnixStream> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

#[cfg(not(unix))]
mod system {
    use std::path::Path;

    use crate::error::{Error, Result};

    pub fn serve(_: &Path, _: impl Fn(&str) -> String + Send + 'static) -> Result<()> {
        Ok(())
    }

    pub fn ask(_: &Path, _: &str) -> Result<Option<String>> {
        Err(Error::new(
            "it is running: stop it first, it can't be asked on this system",
        ))
    }
}
