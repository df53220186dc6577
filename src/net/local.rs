//! Reaching a running program from its own host, by `control` in its data directory, for its
//! owner only; made after the directory's lock is taken. One line in, one line out.
//!
//! On Unix that is a socket of mode 0600. Elsewhere it is a file that tells a port on loopback
//! and a token, which whoever asks shows first: who may read the directory may ask.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::error::{Context, Error, Result};
use crate::net::line::{Line, LineReader};
use crate::threads;

#[cfg(not(unix))]
use self::loopback as system;
#[cfg(unix)]
use self::socket as system;

/// The name within the data directory.
pub const SOCKET: &str = "control";

/// Longest wait for either side.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest request or answer, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Rest after a failed accept.
const BACK_OFF: Duration = Duration::from_millis(100);
const STACK_BYTES: usize = 128 * 1024;

/// Answers every request for `dir`, one at a time, on a thread of its own. The caller holds
/// the directory's lock: what is there already is of a program that has ended.
pub fn serve(dir: &Path, answer: impl Fn(&str) -> String + Send + 'static) -> Result<()> {
    system::serve(dir, answer)
}

/// Asks the program that runs on `dir`; `None` when none listens.
///
/// # Errors
/// It gives no answer, or is not this user's to ask.
pub fn ask(dir: &Path, request: &str) -> Result<Option<String>> {
    system::ask(dir, request)
}

/// Takes connections for ever, each by `attend`.
fn attend<S>(
    accept: impl Fn() -> io::Result<S> + Send + 'static,
    attend: impl Fn(S) -> io::Result<()> + Send + 'static,
) -> Result<()> {
    threads::start("control", STACK_BYTES, move || {
        loop {
            match accept() {
                // A peer that breaks off has no answer coming.
                Ok(stream) => drop(attend(stream)),
                Err(_) => clock::sleep(BACK_OFF),
            }
        }
    })
    .context(|| "start the control thread".to_string())
    .map(drop)
}

/// One request and its answer; a request that has none ends the conversation.
fn converse(
    from: impl Read,
    mut to: impl Write,
    answer: impl FnOnce(&str) -> Option<String>,
) -> io::Result<()> {
    let mut reader = LineReader::new(from, LINE_BYTES_MAX);
    let reply = match reader.next_line() {
        Ok(Line::Whole(line)) => answer(&String::from_utf8_lossy(line)),
        _ => None,
    };
    match reply {
        Some(reply) => to.write_all(format!("{reply}\n").as_bytes()),
        None => Ok(()),
    }
}

/// The other side of it.
fn put(
    from: impl Read,
    mut to: impl Write,
    request: &str,
    doing: impl Fn() -> String,
) -> Result<Option<String>> {
    to.write_all(format!("{request}\n").as_bytes())
        .context(&doing)?;
    match LineReader::new(from, LINE_BYTES_MAX).next_line() {
        Ok(Line::Whole(line)) => Ok(Some(String::from_utf8_lossy(line).into_owned())),
        Ok(_) => Err(Error::new(format!("{}: no answer", doing()))),
        Err(error) => Err(Error::new(format!("{}: {error}", doing()))),
    }
}

#[cfg(unix)]
mod socket {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

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
        attend(
            move || listener.accept().and_then(|(stream, _)| patient(stream)),
            move |stream| converse(&stream, &stream, |request| Some(answer(request))),
        )
    }

    pub fn ask(dir: &Path, request: &str) -> Result<Option<String>> {
        let path = &dir.join(SOCKET);
        let doing = || format!("ask on {}", path.display());
        let stream = match UnixStream::connect(path) {
            Err(error) if is_absence(&error) => return Ok(None),
            stream => stream.and_then(patient).context(doing)?,
        };
        put(&stream, &stream, request, doing)
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

#[cfg(any(test, not(unix)))]
mod loopback {
    use std::fmt::Write as _;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

    use super::*;
    use crate::crypto::same;
    use crate::files::{self, secret};
    use crate::net::stream::TimedStream;

    /// Largest file of a port and a token, in bytes.
    const FILE_BYTES_MAX: usize = 256;

    pub fn serve(dir: &Path, answer: impl Fn(&str) -> String + Send + 'static) -> Result<()> {
        let path = &dir.join(SOCKET);
        let doing = || format!("listen for {}", path.display());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(doing)?;
        let port = listener.local_addr().context(doing)?.port();
        let mut token = String::new();
        for byte in secret()? {
            let _ = write!(token, "{byte:02x}");
        }
        files::replace(path, format!("{port} {token}\n").as_bytes())?;
        let granted = move |line: &str| {
            let (shown, request) = line.split_once(' ')?;
            same(shown.as_bytes(), token.as_bytes()).then(|| answer(request))
        };
        attend(
            move || listener.accept().and_then(|(stream, _)| timed(stream)),
            move |stream| {
                let to = stream.writer()?;
                converse(stream, to, &granted)
            },
        )
    }

    pub fn ask(dir: &Path, request: &str) -> Result<Option<String>> {
        let path = &dir.join(SOCKET);
        let doing = || format!("ask by {}", path.display());
        if files::stamp(path).is_none() {
            return Ok(None);
        }
        let text = String::from_utf8(files::read_bounded(path, FILE_BYTES_MAX)?);
        let text = text.unwrap_or_default();
        let told = text.trim_end().split_once(' ');
        let told = told.and_then(|(port, token)| Some((port.parse().ok()?, token)));
        let Some((port, token)) = told else {
            return Err(Error::new(format!("{}: not a port and a token", doing())));
        };
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = match TcpStream::connect_timeout(&addr, PATIENCE) {
            // It has ended.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
            stream => stream.and_then(timed).context(doing)?,
        };
        let to = stream.writer().context(doing)?;
        put(stream, to, &format!("{token} {request}"), doing)
    }

    fn timed(stream: TcpStream) -> io::Result<TimedStream> {
        TimedStream::new(stream, clock::mono().after(PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_loopback_whoever_reads_the_file_is_answered_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, path) = (dir.path(), dir.path().join(SOCKET));
        assert_eq!(loopback::ask(dir, "status").unwrap(), None);
        loopback::serve(dir, |request| format!("{request} of it")).unwrap();
        let answer = || loopback::ask(dir, "the status").map_err(|e| e.to_string());
        assert_eq!(answer(), Ok(Some("the status of it".to_string())));
        let known = crate::files::read_bounded(&path, 256).unwrap();
        let told = |text: &str| crate::files::replace(&path, text.as_bytes()).unwrap();
        let right = String::from_utf8(known).unwrap();
        let wrong = match right.trim_end() {
            text if text.ends_with('0') => format!("{}1", &text[..text.len() - 1]),
            text => format!("{}0", &text[..text.len() - 1]),
        };
        for (text, why) in [
            (wrong.as_str(), "no answer"),
            (&right[..right.len() / 2], "no answer"),
            ("nonsense", "not a port and a token"),
            ("99999999 abc", "not a port and a token"),
        ] {
            told(text);
            let error = format!("ask by {}: {why}", path.display());
            assert_eq!(answer(), Err(error), "{text}");
        }
        told(&right);
        assert_eq!(answer(), Ok(Some("the status of it".to_string())));
    }
}
