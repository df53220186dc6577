//! Starting threads: each has a name and a stack of the size it needs. In simulated time
//! none is started; the test does their work itself.

use std::io;
use std::thread::{Builder, JoinHandle};

/// A thread that was started. Dropping it lets it run on by itself.
#[derive(Debug)]
pub struct Thread(Option<JoinHandle<()>>);

impl Thread {
    /// Waits for its end. A panic of its own ends the process before that, or is passed on.
    pub fn join(self) {
        if let Some(handle) = self.0 {
            handle.join().expect("a thread does not panic");
        }
    }
}

/// Starts a thread.
pub fn start(
    name: &str,
    stack_bytes: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<Thread> {
    #[cfg(test)]
    if crate::clock::simulated::is_on() {
        return Ok(Thread(None));
    }
    let builder = Builder::new()
        .name(name.to_string())
        .stack_size(stack_bytes);
    builder.spawn(work).map(|handle| Thread(Some(handle)))
}
