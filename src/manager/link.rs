//! The link to one agent: dials it or waits for it to dial in, configures it, stores
//! what comes and acknowledges what is durable; then does it again, for as long as the
//! fleet says.
//!
//! One thread reads and stores, a second one sends. Lines are stored as they came; the
//! board learns of them in the same step, the acknowledgement follows the next sync.

mod intake;

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::board;
use super::core::Core;
use super::history::{self, History};
use super::state::AgentState;
use intake::Intake;

use crate::bell::Bell;
use crate::channel::{self, Channel, Writer};
use crate::clock;
use crate::error::{Context, Error, Result};
use crate::files::KeyFile;
use crate::key::{Key, Rights};
use crate::model::{ContentHash, Id, KeyId, Mono, Name, Revision, Wall};
use crate::net::back_off::back_off;
use crate::proto::flow::Flow;
use crate::proto::handshake::Refusal;
use crate::proto::{self, ConfigPart, Hello, Message, SILENCE_MAX_S, Side};
use crate::threads;
use crate::units::HostPort;

/// What was stored is made durable, and acknowledged, within this time.
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// The same while more is still to be fetched, so that the agent soon knows how much the
/// link carries; a fifth of the time at most is spent on it, but for the time above.
const SYNC_BEHIND_EVERY: Duration = Duration::from_millis(100);
/// A configuration that was refused is offered again after so long; the rest doubles up to
/// the longest.
const OFFER_AGAIN_MIN: Duration = Duration::from_secs(60);
const OFFER_AGAIN_MAX: Duration = Duration::from_secs(3600);
/// Lines taken between two writes to the history.
const BATCH_LINES: usize = 256;
/// Most new ids of one agent within so long: each has a history of its own.
const NEW_IDS_MAX: usize = 8;
const NEW_IDS_WITHIN: Duration = Duration::from_secs(3600);
/// Reasons that are told while an agent that can be reached is away.
const REASONS_MAX: usize = 8;
const STACK_BYTES: usize = 256 * 1024;

/// What the link's threads and the core share.
struct Shared {
    state: AgentState,
    /// The configuration the agent is to have.
    wanted_text: Arc<str>,
    /// The number it has is on disk, so that no other will ever have it.
    wanted_kept: bool,
    /// Offered in this session already, and not refused since.
    offered: Option<ContentHash>,
    /// Parts of it that are still to be sent, and how many may be under way, so that
    /// acknowledgements and beats need not wait for all of them.
    parts: VecDeque<ConfigPart>,
    flow: Flow<u64>,
    /// How often it was refused in this session, and when it is offered again: the reason
    /// may have been a full disk.
    refusals: u32,
    offer_at: Mono,
    /// The agent has said what is in force there.
    status_seen: bool,
    outbox: VecDeque<Message>,
    to_fetch: u64,
    /// Its history could not be made durable when that was last tried.
    distrusts_disk: bool,
    unsaved: bool,
    session: Option<Live>,
    /// When the agent came with another id than before.
    new_ids: Vec<Mono>,
    /// A connection that the agent has made, for the link's thread to take up.
    arrived: Option<Channel>,
}

impl Shared {
    /// What is wanted is to be offered at once.
    fn offer_anew(&mut self) {
        self.offered = None;
        self.parts.clear();
        self.refusals = 0;
        self.offer_at = Mono(0);
    }

    /// It was refused.
    fn refused(&mut self) {
        let rest = OFFER_AGAIN_MIN * 2u32.saturating_pow(self.refusals.min(16));
        self.offered = None;
        self.refusals += 1;
        self.offer_at = clock::mono().after(rest.min(OFFER_AGAIN_MAX));
    }
}

/// What cutting a session needs, and why it was cut.
struct Live {
    /// To cut its connection with, once it has one.
    cutter: Option<TcpStream>,
    instance: Id,
    key: Option<KeyId>,
    heard: Mono,
    cut: Option<&'static str>,
}

/// How a link comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    Dial(HostPort),
    DialsIn,
}

/// A link; its threads end when it is stopped.
pub struct Link {
    pub name: Name,
    pub contact: Contact,
    /// The keys of the link, if it has any.
    pub key_file: Option<KeyFile>,
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
        contact: Contact,
        key_file: Option<KeyFile>,
        state: AgentState,
    ) -> Result<Arc<Link>> {
        let state = AgentState {
            connected: false,
            since: clock::wall(),
            ..state
        };
        let link = Arc::new(Link {
            name,
            contact,
            key_file,
            core: Arc::clone(core),
            shared: Mutex::new(Shared {
                state,
                wanted_text: "".into(),
                wanted_kept: true,
                offered: None,
                parts: VecDeque::new(),
                flow: Flow::default(),
                refusals: 0,
                offer_at: Mono(0),
                status_seen: false,
                outbox: VecDeque::new(),
                to_fetch: 0,
                distrusts_disk: false,
                unsaved: false,
                session: None,
                new_ids: Vec::new(),
                arrived: None,
            }),
            history: Mutex::new(None),
            bell: Bell::default(),
            stopped: AtomicBool::new(false),
        });
        let running = Arc::clone(&link);
        threads::start(&format!("link-{}", link.name), STACK_BYTES, || {
            running.run()
        })
        .context(|| format!("start the link to {}", link.name))?;
        Ok(link)
    }

    /// Ends the link: its threads are on their way out on return.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.cut("the fleet has changed");
        self.bell.ring();
    }

    fn cut(&self, why: &'static str) {
        if let Some(live) = &mut self.shared().session {
            live.cut = Some(why);
            if let Some(cutter) = &live.cutter {
                let _ = cutter.shutdown(Shutdown::Both);
            }
        }
    }

    /// Where its key file lies.
    pub fn key_path(&self) -> Option<&Path> {
        self.key_file.as_ref().map(KeyFile::path)
    }

    /// The keys of the link as they are now; `None` when it is to have none.
    pub fn keys_now(&self) -> Option<Vec<Key>> {
        let (keys, news) = self.key_file.as_ref()?.reread();
        if let Some(news) = news {
            self.core.notice(format!("agent {}: {news}", self.name));
        }
        Some(keys)
    }

    /// Ends the session when its key is no longer in the key file.
    pub fn check_key(&self) {
        let Some(keys) = self.keys_now() else {
            return;
        };
        let shared = self.shared();
        let gone = |live: &Live| live.key.is_some_and(|id| keys.iter().all(|k| k.id() != id));
        let gone = shared.session.as_ref().is_some_and(gone);
        drop(shared);
        if gone {
            self.cut("its key was removed");
        }
    }

    /// Whether an agent that has dialled in may come: not while another process of it is
    /// served.
    pub fn admits(&self, theirs: &Hello) -> std::result::Result<(), Refusal> {
        let shared = self.shared();
        let Some(live) = &shared.session else {
            return Ok(());
        };
        let silent = clock::mono().since(live.heard).as_secs() >= SILENCE_MAX_S;
        match live.instance == theirs.instance || silent {
            true => Ok(()),
            false => Err(Refusal::open(
                "while another process of that name is connected".to_string(),
            )),
        }
    }

    /// Takes up a connection that the agent has made; it replaces an older one.
    pub fn arrive(&self, channel: Channel) {
        self.cut("replaced by a newer connection");
        if let Some(older) = self.shared().arrived.replace(channel) {
            older.writer.close();
        }
        self.bell.ring();
    }

    /// Says which configuration the agent is to have; a new one is numbered, kept, and
    /// offered as soon as the agent is there.
    pub fn want(&self, text: &str) -> Result<()> {
        let hash = proto::content_hash(text);
        let reads_only = self.keys_now().is_some_and(|keys| only_reads(keys.first()));
        let mut shared = self.shared();
        shared.wanted_text = text.into();
        shared.state.reads_only = reads_only;
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
        shared.wanted_kept = false;
        shared.offer_anew();
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
        let saved = shared.state.save(self.core.data(), &self.name);
        shared.unsaved = saved.is_err();
        shared.wanted_kept |= saved.is_ok();
        saved
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("link state")
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn run(self: Arc<Link>) {
        let (mut failures, mut turn) = (0u32, 0usize);
        let mut told = Vec::new();
        while !self.is_stopped() {
            let heard = self.bell.heard();
            let asked = turn;
            let channel = match &self.contact {
                Contact::Dial(address) => self.dial(address, &mut turn),
                Contact::DialsIn => match self.arrival() {
                    Some(channel) => Ok(channel),
                    None => return,
                },
            };
            let (met, ended) = match channel {
                Ok(channel) => (true, self.session(channel)),
                Err(error) => (turn != asked, error),
            };
            let (served, text) = self.away(&ended.to_string());
            match served || told.is_empty() {
                // The board tells that it is away, and why.
                true => told = vec![text],
                false if met && !self.is_stopped() => self.tell_once(&mut told, text),
                false => {}
            }
            if self.contact == Contact::DialsIn {
                continue;
            }
            failures = match served {
                true => 1,
                false => failures.saturating_add(1),
            };
            let until = clock::mono().after(back_off(failures, clock::random()));
            self.rest(heard, until);
        }
    }

    /// While an agent is away, each failed try is not news. That it can be reached, but
    /// keys do not fit or someone meddles with the link, is, once for each reason.
    fn tell_once(&self, told: &mut Vec<String>, text: String) {
        if told.len() < REASONS_MAX && !told.contains(&text) {
            self.core.notice(format!("agent {}: {text}", self.name));
            told.push(text);
        }
    }

    /// Waits for the agent to dial in; `None` when the link is stopped.
    fn arrival(&self) -> Option<Channel> {
        const FOR_EVER: Mono = Mono(u64::MAX);
        loop {
            let heard = self.bell.heard();
            if self.is_stopped() {
                return None;
            }
            let arrived = self.shared().arrived.take();
            if let Some(mut channel) = arrived {
                // It may have waited for the session before it to end.
                channel.reader.stream().heard = clock::mono();
                return Some(channel);
            }
            self.bell.wait(heard, FOR_EVER);
        }
    }

    /// Waits for the next try; only a stop cuts it short.
    fn rest(&self, mut heard: u64, until: Mono) {
        while !self.is_stopped() && clock::mono() < until {
            self.bell.wait(heard, until);
            heard = self.bell.heard();
        }
    }

    /// Notes that there is no session any more; whether the agent had been served, and why
    /// it is over.
    fn away(&self, text: &str) -> (bool, String) {
        let mut shared = self.shared();
        let served = shared.state.connected;
        if served {
            shared.state.since = clock::wall();
        }
        shared.state.connected = false;
        let live = shared.session.take();
        let text = live.and_then(|live| live.cut).unwrap_or(text).to_string();
        shared.state.text.clone_from(&text);
        shared.status_seen = false;
        shared.offer_anew();
        shared.outbox.clear();
        shared.unsaved = true;
        drop(shared);
        self.publish();
        (served, text)
    }

    fn dial(&self, address: &HostPort, turn: &mut usize) -> Result<Channel> {
        let hello = |_: Option<&Key>| self.core.hello(Side::Dialler, &self.name);
        channel::dial(self.core.resolver(), address, self.keys_now(), turn, hello)
    }

    /// The hello and the key to answer the agent's hello with, when it dials in.
    pub fn introduce(&self, theirs: &Hello) -> std::result::Result<(Hello, Option<Key>), Refusal> {
        let keys = self.keys_now();
        let key = match proto::handshake::pick(keys.as_deref(), theirs) {
            // Whoever knocks chooses the key's id, so it is not told.
            Err(_) if keys.is_some() && theirs.auth.is_some() => {
                return Err(Refusal::unauthentic("with a key that is not known here"));
            }
            picked => picked?,
        };
        Ok((self.core.hello(Side::Dialled, &self.name), key))
    }

    /// Checks who it is that has said `hello` when this clock stood at `at`, notes how the
    /// clocks compare, and opens its history.
    fn admit(&self, hello: &Hello, key: Option<&Key>, at: Wall) -> Result<()> {
        if key.is_some() {
            self.check_id(hello.id)?;
        }
        self.core.pin(hello.id, &self.name)?;
        let offset = i64::try_from(i128::from(hello.at.0) - i128::from(at.0)).unwrap_or(0);
        let mut shared = self.shared();
        if shared.state.id != Some(hello.id) {
            shared.state.announced_epochs.clear();
            shared.state.mark = None;
        }
        shared.state.id = Some(hello.id);
        shared.state.clock_offset_ms = Some(offset);
        shared.state.reads_only = only_reads(key);
        if shared.state.reads_only {
            shared.state.rejected = None;
        }
        shared.session = Some(Live {
            cutter: None,
            instance: hello.instance,
            key: key.map(Key::id),
            heard: clock::mono(),
            cut: None,
        });
        drop(shared);
        let opened = History::open(self.core.data(), hello.id, &self.name)?;
        *self.history.lock().expect("history") = Some(opened);
        Ok(())
    }

    /// Hands over the session's connection, to be cut when it is to end; false when that
    /// was so already.
    fn attach(&self, cutter: TcpStream) -> bool {
        match &mut self.shared().session {
            Some(live) if live.cut.is_none() => {
                live.cutter = Some(cutter);
                true
            }
            _ => false,
        }
    }

    /// A key speaks for a name, and the id beside it is only said. So an id whose history
    /// is another agent's is refused, and so are new ones without end.
    fn check_id(&self, id: Id) -> Result<()> {
        let path = history::name_file(self.core.data(), id);
        if let Some(owner) = history::name_in(&path).filter(|owner| *owner != self.name) {
            let path = path.display();
            return Err(Error::new(format!(
                "it has the id {id} of agent {owner}: if that was renamed, write {} into {path}",
                self.name
            )));
        }
        let mut shared = self.shared();
        if shared.state.id.is_none_or(|known| known == id) {
            return Ok(());
        }
        let now = clock::mono();
        let recent = |at: &Mono| now.since(*at) < NEW_IDS_WITHIN;
        shared.new_ids.retain(recent);
        if shared.new_ids.len() >= NEW_IDS_MAX {
            return Err(Error::new(format!(
                "it has come with {NEW_IDS_MAX} new ids within an hour"
            )));
        }
        shared.new_ids.push(now);
        Ok(())
    }

    /// One session, from the greeting to its end, which always has a reason.
    fn session(self: &Arc<Link>, mut channel: Channel) -> Error {
        let middle = Wall(channel.asked.0 / 2 + channel.heard.0 / 2);
        if let Err(error) = self.admit(&channel.peer, channel.key.as_ref(), middle) {
            channel.refuse(&error.to_string());
            return error;
        }
        if self.is_stopped() {
            self.cut("the fleet has changed");
        }
        self.serve(channel)
            .expect_err("a session ends with a reason")
    }

    fn serve(self: &Arc<Link>, channel: Channel) -> Result<()> {
        let doing = || format!("serve {}", self.name);
        let Channel {
            mut reader, writer, ..
        } = channel;
        let closer = writer.cutter().context(doing)?;
        if !self.attach(writer.cutter().context(doing)?) {
            writer.close();
            return Err(Error::new("ended"));
        }
        let over = Arc::new(AtomicBool::new(false));
        let (link, ended) = (Arc::clone(self), Arc::clone(&over));
        let send = move || link.send(writer, &ended);
        let sender = threads::start("send", STACK_BYTES, send).context(doing)?;
        let mut intake = Intake::new(self);
        let ended = intake.read(&mut reader);
        // What came before the end is stored all the same.
        let outcome = intake.flush().and(ended);
        over.store(true, Ordering::SeqCst);
        self.bell.ring();
        let _ = closer.shutdown(Shutdown::Both);
        sender.join();
        outcome
    }

    /// Sends beats, acknowledgements and configurations until the session is over.
    fn send(&self, mut writer: Writer, over: &AtomicBool) {
        let mut beat_at = next_beat();
        while !over.load(Ordering::SeqCst) && !self.is_stopped() {
            let heard = self.bell.heard();
            let out = self.to_say(&mut beat_at);
            if out.is_empty() {
                self.bell.wait(heard, beat_at);
            } else if writer.write(out.as_bytes()).is_err() {
                break;
            }
        }
        writer.close();
    }

    /// What is to be said now; a beat when it is time for one.
    fn to_say(&self, beat_at: &mut Mono) -> String {
        let mut out = self.take_outbox();
        if clock::mono() >= *beat_at {
            *beat_at = next_beat();
            let at = clock::wall();
            out.push_str(&Message::Beat { at, status: None }.line());
        }
        out
    }

    /// What is to be said, and the next part of the configuration when it is offered.
    fn take_outbox(&self) -> String {
        let mut shared = self.shared();
        self.offer_if_due(&mut shared);
        let mut out: String = shared.outbox.drain(..).map(|m| m.line()).collect();
        if shared.flow.room() > 0 {
            if let Some(part) = shared.parts.pop_front() {
                let number = part.part;
                out.push_str(&Message::Config(part).line());
                shared.flow.sent(out.len());
                shared.flow.mark(number, clock::mono());
            }
        }
        out
    }

    /// The agent has a part of what it was offered.
    fn part_taken(&self, hash: ContentHash, part: u64) {
        let mut shared = self.shared();
        if shared.offered == Some(hash) {
            shared
                .flow
                .acknowledged(|sent| *sent <= part, clock::mono());
            drop(shared);
            self.bell.ring();
        }
    }

    fn offer_if_due(&self, shared: &mut Shared) {
        let Some((counter, hash)) = shared.state.wanted else {
            return;
        };
        let in_force = shared
            .state
            .applied
            .as_ref()
            .is_some_and(|r| r.hash == hash);
        let due = shared.status_seen
            && !shared.state.reads_only
            && shared.wanted_kept
            && clock::mono() >= shared.offer_at;
        if !due || in_force || shared.offered == Some(hash) {
            return;
        }
        shared.offered = Some(hash);
        let revision = Revision {
            owner: self.core.id(),
            owner_name: self.core.name().clone(),
            counter,
            hash,
        };
        let parts = proto::parts(&revision, self.core.takes_over(), &shared.wanted_text);
        shared.parts = parts.into();
        shared.flow = Flow::default();
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
            held: state.held(),
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

/// When the next beat is due.
fn next_beat() -> Mono {
    clock::mono().after(Duration::from_secs(proto::BEAT_EVERY_S))
}

/// Whether a key lets its manager do no more than receive results.
fn only_reads(key: Option<&Key>) -> bool {
    key.is_some_and(|key| key.rights() < Rights::Own)
}

#[cfg(test)]
pub mod simulated;
