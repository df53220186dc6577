//! What a running program says on one stream, and waiting for it. A thread reads
//! the pipe all the time, so a program never blocks on a test that looks away.

use std::io::Read;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Instant;

use super::PATIENCE;

/// A stream of a running program. Waiting moves on: what was before a line that
/// was waited for is not looked at again.
pub struct Output {
    name: &'static str,
    chunks: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    /// Where the next search starts.
    at: usize,
}

impl Output {
    pub(super) fn follow(name: &'static str, mut pipe: impl Read + Send + 'static) -> Output {
        let (send, chunks) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(len @ 1..) = pipe.read(&mut buffer) {
                if send.send(buffer[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Output {
            name,
            chunks,
            seen: Vec::new(),
            at: 0,
        }
    }

    /// The next whole line that contains `what`, without its end.
    #[track_caller]
    pub fn line(&mut self, what: &str) -> String {
        self.line_where(&format!("a line with {what:?}"), |line| line.contains(what))
    }

    /// The next whole line of which `fits` is true, without its end.
    #[track_caller]
    pub fn line_where(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(len) = self.seen[self.at..].iter().position(|b| *b == b'\n') {
                let line = lossy(&self.seen[self.at..self.at + len]);
                self.at += len + 1;
                if fits(&line) {
                    return line;
                }
            }
            self.more(what, deadline);
        }
    }

    /// Waits until `what` is said, be it without an end of line, such as a prompt.
    #[track_caller]
    pub fn text(&mut self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let new = &self.seen[self.at..];
            let found = new.windows(what.len()).position(|w| w == what.as_bytes());
            if let Some(found) = found {
                self.at += found + what.len();
                return;
            }
            self.more(&format!("{what:?}"), deadline);
        }
    }

    /// Everything said so far.
    pub fn seen(&mut self) -> String {
        self.seen.extend(self.chunks.try_iter().flatten());
        lossy(&self.seen)
    }

    /// Everything said until the stream ends.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while self.receive("its end", deadline) {}
        lossy(&self.seen)
    }

    #[track_caller]
    fn more(&mut self, what: &str, deadline: Instant) {
        let open = self.receive(what, deadline);
        assert!(open, "{} ended before {what}", self.name);
    }

    /// Blocks for the next chunk; false at the end of the stream.
    #[track_caller]
    fn receive(&mut self, what: &str, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.chunks.recv_timeout(left) {
            Ok(chunk) => self.seen.extend(chunk),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => {
                panic!("waited in vain for {what} on {}", self.name)
            }
        }
        true
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
