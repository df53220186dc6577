//! The link to one agent: dials, greets, configures, stores what comes and
//! acknowledges what is durable; then does it again, for as long as the fleet says.
//!
//! One thread reads and stores, a second one sends. Lines are stored as they came; the
//! board learns of them in the same step, the acknowledgement follows the next sync.

mod intake;

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use super::board;
use super::core::Core;
use super::history::History;
use super::state::{AgentState, Announced};
use intake::Intake;

use crate::bell::Bell;
use crate::clock;
use crate::error::{Context, Error, Result};
use crate::model::{ContentHash, Mono, Name, Revision, Wall};
use crate::net::dial::dial;
use crate::net::line::{Line, LineReader};
use crate::net::stream::{TimedStream, write_all};
use crate::proto::{self, Hello, Message, Role};
use crate::units::HostPort;

/// Longest wait for a connection.
const DIAL_WITHIN: Duration = Duration::from_secs(5);
/// The first rest after a failed session; it doubles up to the longest.
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// What was stored is made durable, and acknowledged, within this time.
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// Lines taken between two writes to the history.
const BATCH_LINES: usize = 1024;
const STACK_BYTES: usize = 256 * 1024;

/// The rest before try number `failures`: doubling, with a jitter of a quarter either
/// way out of `random`, so that many managers or agents do not come at once.
fn back_off(failures: u32, random: u64) -> Duration {
    let doubled = BACK_OFF_MIN * 2u32.saturating_pow(failures.saturating_sub(1)).min(1024);
    let base = doubled.min(BACK_OFF_MAX);
    let jitter = (random % 1001) as u32;
    base * 3 / 4 + base / 2 * jitter / 1000
}

/// What the link's threads and the core share.
struct Shared {
    state: AgentState,
    /// The configuration the agent is to have.
    wanted_text: Arc<str>,
    /// Offered in this session already.
    offered: Option<ContentHash>,
    /// The agent has said what is in force there.
    status_seen: bool,
    outbox: VecDeque<Message>,
    to_fetch: u64,
    unsaved: bool,
    /// A copy of the connection, to cut it with.
    stream: Option<TcpStream>,
}

/// A link; its threads end when it is stopped.
pub struct Link {
    pub name: Name,
    pub address: HostPort,
    core: Arc<Core>,
    shared: Mutex<Shared>,
    /// The history, while an agent has been seen; locked by retention too.
    pub history: Mutex<Option<History>>,
    bell: Bell,
    stopped: AtomicBool,
}

impl Link {
    /// Starts a link; it knows what was saved of its agent before.
    pub fn start(
        core: &Arc<Core>,
        name: Name,
        address: HostPort,
        state: AgentState,
    ) -> Result<(Arc<Link>, JoinHandle<()>)> {
        let state = AgentState {
            connected: false,
            since: clock::wall(),
            ..state
        };
        let link = Arc::new(Link {
            name,
            address,
            core: Arc::clone(core),
            shared: Mutex::new(Shared {
                state,
                wanted_text: "".into(),
                offered: None,
                status_seen: false,
                outbox: VecDeque::new(),
                to_fetch: 0,
                unsaved: false,
                stream: None,
            }),
            history: Mutex::new(None),
            bell: Bell::default(),
            stopped: AtomicBool::new(false),
        });
        let running = Arc::clone(&link);
        let thread = std::thread::Builder::new()
            .name(format!("link-{}", link.name))
            .stack_size(STACK_BYTES)
            .spawn(move || running.run())
            .context(|| format!("start the link to {}", link.name))?;
        Ok((link, thread))
    }

    /// Ends the link: its threads are on their way out on return.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(stream) = &self.shared().stream {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.bell.ring();
    }

    /// Says which configuration the agent is to have; a new one is numbered, kept, and
    /// offered as soon as the agent is there.
    pub fn want(&self, text: &str) -> Result<()> {
        let hash = proto::content_hash(text);
        let mut shared = self.shared();
        shared.wanted_text = text.into();
        let counter = match shared.state.wanted {
            Some((_, known)) if known == hash => {
                drop(shared);
                self.publish();
                return Ok(());
            }
            Some((counter, _)) => counter + 1,
            None => 1,
        };
        shared.state.wanted = Some((counter, hash));
        shared.state.rejected = None;
        let saved = self.save(&mut shared);
        drop(shared);
        self.bell.ring();
        self.publish();
        saved
    }

    /// The agent's state as it is now.
    pub fn state(&self) -> AgentState {
        self.shared().state.clone()
    }

    /// Writes the state to disk when it has changed.
    pub fn save_if_changed(&self) -> Result<()> {
        let mut shared = self.shared();
        match shared.unsaved {
            true => self.save(&mut shared),
            false => Ok(()),
        }
    }

    fn save(&self, shared: &mut Shared) -> Result<()> {
        let (mark, states) = self.core.announced(&self.name);
        shared.state.mark = mark.or(shared.state.mark);
        shared.state.states = states;
        shared.state.saved = clock::wall();
        shared.unsaved = false;
        shared.state.save(self.core.data(), &self.name)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("link state")
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn run(self: Arc<Link>) {
        let mut failures = 0;
        while !self.is_stopped() {
            let heard = self.bell.heard();
            let ended = self.session(&mut failures);
            failures += 1;
            self.away(&ended.to_string());
            let until = clock::mono().after(back_off(failures, clock::random()));
            self.rest(heard, until);
        }
    }

    /// Waits for the next try; only a stop cuts it short.
    fn rest(&self, mut heard: u64, until: Mono) {
        while !self.is_stopped() && clock::mono() < until {
            self.bell.wait(heard, until);
            heard = self.bell.heard();
        }
    }

    fn away(&self, text: &str) {
        let mut shared = self.shared();
        if shared.state.connected {
            shared.state.since = clock::wall();
        }
        shared.state.connected = false;
        shared.state.text = text.to_string();
        shared.status_seen = false;
        shared.offered = None;
        shared.stream = None;
        shared.outbox.clear();
        shared.unsaved = true;
        drop(shared);
        self.publish();
    }

    /// One session, from dialling to its end, which is always an error.
    fn session(self: &Arc<Link>, failures: &mut u32) -> Error {
        match self.greet() {
            Ok((reader, hello)) => {
                *failures = 0;
                self.serve(reader, &hello)
                    .expect_err("a session ends with a reason")
            }
            Err(error) => error,
        }
    }

    fn greet(&self) -> Result<(Reader, Hello)> {
        let deadline = clock::mono().after(DIAL_WITHIN);
        let dialled = dial(self.core.resolver(), &self.address, deadline, 0);
        let stream = dialled
            .outcome
            .map_err(|failure| Error::new(failure.text))?;
        let doing = || format!("greet {}", self.address);
        let deadline = clock::mono().after(Duration::from_secs(proto::HELLO_WITHIN_S));
        let mut source = TimedStream::new(stream, deadline).context(doing)?;
        source.deadline = deadline;
        let mut writer = source.writer().context(doing)?;
        self.shared().stream = Some(source.writer().context(doing)?);
        let sent = clock::wall();
        let hello = Message::Hello(self.core.hello());
        write_all(&mut writer, hello.line().as_bytes()).context(doing)?;
        let mut reader = LineReader::new(source, proto::HELLO_BYTES_MAX);
        let hello = match reader.next_line() {
            Ok(Line::Whole(line)) => Message::parse(line),
            Ok(_) => return Err(Error::new(format!("{}: closed without a hello", doing()))),
            Err(error) => return Err(Error::new(format!("{}: {error}", doing()))),
        };
        let hello = match hello {
            Ok(Message::Hello(hello)) => hello,
            Ok(Message::Bye { text }) => return Err(Error::new(format!("refused: {text}"))),
            Ok(_) => return Err(Error::new(format!("{}: expected a hello", doing()))),
            Err(text) => return Err(Error::new(format!("{}: {text}", doing()))),
        };
        reader.set_max(proto::LINE_BYTES_MAX);
        self.admit(&hello, sent)?;
        Ok((reader, hello))
    }

    /// Checks who answered, and notes how its clock compares.
    fn admit(&self, hello: &Hello, sent: Wall) -> Result<()> {
        if hello.version != proto::VERSION {
            let (theirs, ours) = (hello.version, proto::VERSION);
            return Err(Error::new(format!(
                "speaks protocol version {theirs}, not {ours}"
            )));
        }
        if hello.role != Role::Agent {
            return Err(Error::new(format!(
                "{} is a manager, not an agent",
                self.address
            )));
        }
        if let Err(error) = self.core.pin(hello.id, &self.name) {
            // Told at once, and again only after something else was wrong.
            if self.shared().state.text != error.to_string() {
                self.core.notice(format!("agent {}: {error}", self.name));
            }
            return Err(error);
        }
        let now = clock::wall();
        let middle = sent.0 / 2 + now.0 / 2;
        let offset = i64::try_from(i128::from(hello.at.0) - i128::from(middle)).unwrap_or(0);
        let mut shared = self.shared();
        if shared.state.id != Some(hello.id) {
            shared.state.announced_epochs.clear();
            shared.state.mark = None;
        }
        shared.state.id = Some(hello.id);
        shared.state.clock_offset_ms = Some(offset);
        Ok(())
    }

    fn serve(self: &Arc<Link>, mut reader: Reader, hello: &Hello) -> Result<()> {
        let doing = || format!("serve {}", self.name);
        let mut history = self.history.lock().expect("history");
        *history = Some(History::open(self.core.data(), hello.id, &self.name)?);
        drop(history);
        let stream = reader.source().writer().context(doing)?;
        let closer = reader.source().writer().context(doing)?;
        let over = Arc::new(AtomicBool::new(false));
        let (link, ended) = (Arc::clone(self), Arc::clone(&over));
        let sender = std::thread::Builder::new()
            .name("send".into())
            .stack_size(STACK_BYTES)
            .spawn(move || link.send(stream, &ended))
            .context(doing)?;
        let mut intake = Intake::new(self);
        let ended = intake.read(&mut reader);
        // What came before the end is stored all the same.
        let outcome = intake.flush().and(ended);
        over.store(true, Ordering::SeqCst);
        self.bell.ring();
        let _ = closer.shutdown(Shutdown::Both);
        let _ = sender.join();
        outcome
    }

    /// Sends beats, acknowledgements and configurations until the session is over.
    fn send(&self, mut stream: TcpStream, over: &AtomicBool) {
        let mut beat_at = clock::mono().after(Duration::from_secs(proto::BEAT_EVERY_S));
        while !over.load(Ordering::SeqCst) && !self.is_stopped() {
            let heard = self.bell.heard();
            let mut out = String::new();
            for message in self.take_outbox() {
                out.push_str(&message.line());
            }
            let now = clock::mono();
            if now >= beat_at {
                beat_at = now.after(Duration::from_secs(proto::BEAT_EVERY_S));
                let at = clock::wall();
                out.push_str(&Message::Beat { at, status: None }.line());
            }
            if out.is_empty() {
                self.bell.wait(heard, beat_at);
            } else if write_all(&mut stream, out.as_bytes()).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    }

    /// What is to be said, an offer of the configuration included when it is due.
    fn take_outbox(&self) -> VecDeque<Message> {
        let mut shared = self.shared();
        let mut messages = std::mem::take(&mut shared.outbox);
        let Some((counter, hash)) = shared.state.wanted else {
            return messages;
        };
        let in_force = shared
            .state
            .applied
            .as_ref()
            .is_some_and(|r| r.hash == hash);
        if !shared.status_seen || in_force || shared.offered == Some(hash) {
            return messages;
        }
        shared.offered = Some(hash);
        let revision = Revision {
            owner: self.core.id(),
            owner_name: self.core.name().clone(),
            counter,
            hash,
        };
        let parts = proto::parts(&revision, self.core.takes_over(), &shared.wanted_text);
        messages.extend(parts.into_iter().map(Message::Config));
        messages
    }

    fn post(&self, message: Message) {
        self.shared().outbox.push_back(message);
        self.bell.ring();
    }

    /// Tells the board how the link stands.
    fn publish(&self) {
        let shared = self.shared();
        let state = &shared.state;
        let link = board::Link {
            connected: state.connected,
            since: state.since,
            text: state.text.clone(),
            id: state.id,
            last_seen: state.last_seen,
            clock_offset_ms: state.clock_offset_ms,
            to_fetch: shared.to_fetch,
            revision: state
                .applied
                .as_ref()
                .map(|r| r.counter.to_string())
                .unwrap_or_default(),
            pending: state.pending(),
            rejected: state.rejected.clone(),
            spool: state.trouble.clone(),
        };
        drop(shared);
        self.core
            .board()
            .lock()
            .expect("board")
            .set_link(&self.name, link, clock::wall());
        self.core.bell().ring();
    }
}

type Reader = LineReader<TimedStream>;

/// The announced states of one agent, as the board tells them.
pub fn announced_of(board: &board::Board, agent: &Name) -> Vec<Announced> {
    let of_agent = board.announced().filter(|(name, ..)| *name == agent);
    of_agent
        .map(|(_, target, ok, since)| Announced {
            target: target.clone(),
            ok,
            since,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_up_to_half_a_minute_and_are_jittered() {
        for (failures, least_ms, most_ms) in [
            (1, 375, 625),
            (2, 750, 1250),
            (3, 1500, 2500),
            (7, 22_500, 37_500),
            (40, 22_500, 37_500),
        ] {
            for random in [0, 500, 1000, 12_345_678_901] {
                let ms = back_off(failures, random).as_millis();
                assert!((least_ms..=most_ms).contains(&ms), "{failures}: {ms}");
            }
        }
        assert_ne!(back_off(5, 0), back_off(5, 1000));
    }
}
