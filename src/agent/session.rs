//! One manager's session: how it is admitted, what it says, and what it is sent.
//!
//! The calling thread reads; a second thread sends, so that neither direction
//! waits for the other. The sender goes by one order: answers and beats first,
//! then what has changed (`now`), then records and the other states by turns, no more at a
//! time than the link is quick to carry ([`Flow`]), so that a long backlog hides neither
//! the present nor that we are alive.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Display;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::Agent;
use super::managers::Admission;
use crate::channel::{self, Channel, NoChannel, Reader, Writer};
use crate::clock;
use crate::error::plain;
use crate::journal::Follower;
use crate::key::{Key, Rights};
use crate::log;
use crate::model::{Epoch, Mono, Name, TEXT_LEN_MAX};
use crate::net::door::Door;
use crate::net::line::Step;
use crate::proto::flow::Flow;
use crate::proto::handshake::{self, Refusal};
use crate::proto::{self, Assembly, ConfigPart, Hello, Message, Role, Side, Status};
use crate::text::cut;
use crate::threads;

/// Records sent between two looks at what is more urgent, in bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// Changes of state are told at most this often while catching up.
const NOW_EVERY: Duration = Duration::from_millis(500);
/// Every state is told again this long after it was, while records can't tell it; on a
/// slow link later, so that it takes a fifth of it: half of it, two fifths of the time.
const NOW_ALL_EVERY: Duration = Duration::from_secs(2);
/// Changes of state told every [`NOW_EVERY`] while the link takes nothing else.
const NOW_SQUEEZED_MAX: usize = 8;
/// Answers waiting to be sent; a peer that asks faster than it reads is cut off.
const OUTBOX_MAX: usize = 64;
const STACK_BYTES: usize = 128 * 1024;

/// What the two threads of a session share.
#[derive(Default)]
struct Shared {
    outbox: VecDeque<Message>,
    /// Where sending starts in each epoch; `None` until the manager has said.
    resume: Option<HashMap<Epoch, u64>>,
    /// The last number sent of each epoch.
    sent: HashMap<Epoch, u64>,
    flow: Flow<(Epoch, u64)>,
    ended: bool,
}

pub(super) struct Session {
    pub(super) agent: Arc<Agent>,
    serial: u64,
    name: Name,
    rights: Rights,
    shared: Mutex<Shared>,
}

/// A manager's place among the sessions; given back when dropped.
pub struct Seat {
    agent: Arc<Agent>,
    serial: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.agent.managers().left(self.serial);
    }
}

/// Serves a manager that has dialled, if the door lets it in, until its session ends; says
/// in the log how it did.
pub fn serve(agent: &Arc<Agent>, door: &Arc<Door>, stream: TcpStream, peer: SocketAddr) {
    let (pass, news) = door.knock(peer.ip(), clock::mono());
    tell(news);
    let Ok(pass) = pass else {
        return;
    };
    let introduce = |hello: &Hello| introduce(agent, hello);
    let admit = |hello: &Hello, key: Option<&Key>| admit(agent, hello, key);
    let line = |text: &dyn Display| format!("connection from {peer}: {text}");
    match channel::answer(stream, introduce, admit) {
        Ok((channel, seat)) => {
            tell(pass.proved());
            attend(seat, channel, &format!("from {peer}"));
        }
        Err(NoChannel::Left) => tell(pass.left(&line(&"closed before its hello"), clock::mono())),
        Err(NoChannel::Failed(error)) => tell(pass.failed(&line(&error), clock::mono())),
        Err(NoChannel::Refused(error)) => {
            tell(pass.proved());
            log::line(line(&error));
        }
    }
}

fn tell(news: Option<String>) {
    if let Some(news) = news {
        log::line(news);
    }
}

/// The hello and the key to answer a manager's hello with.
fn introduce(agent: &Agent, theirs: &Hello) -> std::result::Result<(Hello, Option<Key>), Refusal> {
    let keys = agent.keys.now();
    let key = handshake::pick(keys.as_deref(), theirs)?;
    let expects = Some(theirs.name.clone());
    Ok((agent.hello(Side::Dialled, key.as_ref(), expects), key))
}

/// Takes or refuses a manager that has proved who it is.
pub fn admit(
    agent: &Arc<Agent>,
    theirs: &Hello,
    key: Option<&Key>,
) -> std::result::Result<Seat, Refusal> {
    match agent.managers().admit(theirs, key, clock::mono()) {
        Admission::Admitted { serial, replaces } => {
            if replaces.is_some() {
                agent.bell.ring();
            }
            let agent = Arc::clone(agent);
            Ok(Seat { agent, serial })
        }
        Admission::Refused(text) => Err(Refusal::open(text)),
    }
}

/// Has a session with a manager until it ends; whether the manager took up its work,
/// which one that turns the agent away does not. `whence` says for the log where it is.
pub fn attend(seat: Seat, channel: Channel, whence: &str) -> bool {
    let name = channel.peer.name.clone();
    log::line(format_args!("manager {name} connected {whence}"));
    let rights = channel.key.as_ref().map_or(Rights::Own, Key::rights);
    let session = Session::new(&seat, name, rights);
    let ended = session.run(channel.reader, channel.writer);
    drop(seat);
    log::line(format_args!("manager {} {whence}: {ended}", session.name));
    session.shared().resume.is_some()
}

impl Session {
    pub(super) fn new(seat: &Seat, name: Name, rights: Rights) -> Arc<Session> {
        Arc::new(Session {
            agent: Arc::clone(&seat.agent),
            serial: seat.serial,
            name,
            rights,
            shared: Mutex::default(),
        })
    }

    /// Reads until the session ends; the text says why.
    fn run(self: &Arc<Session>, mut reader: Reader, writer: Writer) -> String {
        let (closer, cutter) = match (writer.cutter(), writer.cutter()) {
            (Ok(closer), Ok(cutter)) => (closer, cutter),
            (Err(error), _) | (_, Err(error)) => return format!("set up: {error}"),
        };
        if !self.agent.managers().attach(self.serial, cutter) {
            return self.ending("ended");
        }
        let session = Arc::clone(self);
        let sender = threads::start("send", STACK_BYTES, move || session.send(writer));
        let sender = match sender {
            Ok(sender) => sender,
            Err(error) => {
                return format!("start its sending thread: {}", plain(&error.to_string()));
            }
        };
        let ended = self.read(&mut reader);
        self.shared().ended = true;
        self.agent.bell.ring();
        let _ = closer.shutdown(Shutdown::Both);
        sender.join();
        ended
    }

    fn read(&self, reader: &mut Reader) -> String {
        let mut assembly = Assembly::default();
        let silence = Duration::from_secs(proto::SILENCE_MAX_S);
        loop {
            let heard = reader.stream().heard;
            reader.stream().deadline = heard.after(silence);
            match reader.step() {
                Ok(Step::Whole) => {}
                Ok(Step::End) => return self.ending("closed by the manager"),
                Ok(Step::Torn) => return self.ending("closed by the manager within a line"),
                // Bytes that came just before the deadline move it.
                Err(error) if error.is_timeout() && reader.stream().heard > heard => continue,
                Err(error) if error.is_timeout() => {
                    return format!("silent for {} s", proto::SILENCE_MAX_S);
                }
                Err(error) => return self.ending(&error.to_string()),
            }
            if let Err(text) = self.line(reader.line(), &mut assembly) {
                return text;
            }
        }
    }

    /// Takes a line that the manager has sent; else why the session is over.
    pub(super) fn line(
        &self,
        line: &[u8],
        assembly: &mut Assembly,
    ) -> std::result::Result<(), String> {
        // Nothing is obeyed that comes after the session was ended from here.
        if !self.agent.managers().heard(self.serial, clock::mono()) {
            return Err(self.ending("ended"));
        }
        self.take(Message::parse(line)?, assembly)
    }

    /// Why the connection is over, unless we ended it ourselves.
    fn ending(&self, text: &str) -> String {
        let managers = self.agent.managers();
        managers.ended(self.serial).unwrap_or(text).to_string()
    }

    fn take(&self, message: Message, assembly: &mut Assembly) -> std::result::Result<(), String> {
        match message {
            Message::Beat { .. } => Ok(()),
            Message::Resume(cursors) => {
                self.resume(cursors);
                Ok(())
            }
            Message::Ack { epoch, seq } => self.acknowledged(epoch, seq),
            Message::Config(part) => self.config_part(&part, assembly),
            Message::Bye { text } => Err(format!("said goodbye: {}", cut(&text, TEXT_LEN_MAX))),
            _ => Err("sent a message that only agents send".to_string()),
        }
    }

    fn resume(&self, cursors: Vec<(Epoch, u64)>) {
        for (epoch, seq) in &cursors {
            self.agent.reached(self.serial, *epoch, *seq);
        }
        let mut shared = self.shared();
        shared.sent.extend(cursors.iter().copied());
        shared.resume = Some(cursors.into_iter().collect());
        drop(shared);
        self.agent.bell.ring();
    }

    fn acknowledged(&self, epoch: Epoch, seq: u64) -> std::result::Result<(), String> {
        let sent = self.shared().sent.get(&epoch).copied().unwrap_or(0);
        if seq > sent {
            return Err(format!(
                "acknowledged {seq} of epoch {epoch}, but only {sent} was sent"
            ));
        }
        self.agent.reached(self.serial, epoch, seq);
        let now = clock::mono();
        let reached = |(of, last): &(Epoch, u64)| *of == epoch && *last <= seq;
        if self.shared().flow.acknowledged(reached, now) {
            self.agent.bell.ring();
        }
        Ok(())
    }

    fn config_part(
        &self,
        part: &ConfigPart,
        assembly: &mut Assembly,
    ) -> std::result::Result<(), String> {
        let Some(text) = assembly.add(part)? else {
            return self.post(Message::Taken {
                hash: part.revision.hash,
                part: part.part,
            });
        };
        if self.rights < Rights::Own {
            let problem = "this manager's key may read results, not configure".to_string();
            return self.post(Message::Rejected {
                hash: part.revision.hash,
                problems: vec![problem],
                current: self.agent.settings().revision().cloned(),
            });
        }
        let answer = self.agent.configure(&part.revision, part.take_over, &text);
        self.post(answer)
    }

    fn post(&self, message: Message) -> std::result::Result<(), String> {
        let mut shared = self.shared();
        if shared.outbox.len() >= OUTBOX_MAX {
            return Err("does not read the answers to its messages".to_string());
        }
        shared.outbox.push_back(message);
        drop(shared);
        self.agent.bell.ring();
        Ok(())
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("session state")
    }

    /// Sends until the session ends, then closes the connection.
    fn send(self: &Arc<Session>, mut writer: Writer) {
        let mut sender = Sender::new(Arc::clone(self));
        while !self.over() {
            let heard = self.agent.bell.heard();
            let mut out = Vec::new();
            sender.fill(&mut out);
            if out.is_empty() {
                self.agent.bell.wait(heard, sender.wake_at());
            } else if let Err(error) = writer.write(&out) {
                // Of a connection that was ended here, the reason is told elsewhere.
                if !self.over() {
                    log::line(format_args!("send to manager {}: {error}", self.name));
                }
                break;
            }
        }
        writer.close();
    }

    pub(super) fn over(&self) -> bool {
        self.shared().ended || !self.agent.managers().is_current(self.serial)
    }
}

/// The sending side's place in what there is to say.
pub(super) struct Sender {
    session: Arc<Session>,
    beat_at: Mono,
    /// Whether the last beat told of trouble with the disk.
    told_trouble: bool,
    /// States that have changed, and all of them in turn, still to be told: places in the
    /// recorder's table.
    changed: VecDeque<usize>,
    round: VecDeque<usize>,
    /// Changes up to this number are told or in `changed`; `None` before the first round.
    now_mark: Option<u64>,
    now_at: Mono,
    /// When the round began, and when the next one is due.
    round_at: Mono,
    all_at: Mono,
    follower: Option<Follower>,
    /// The epoch the manager was last told.
    announced: Option<Epoch>,
    catching_up: bool,
}

impl Sender {
    pub(super) fn new(session: Arc<Session>) -> Sender {
        Sender {
            session,
            beat_at: Mono(0),
            told_trouble: false,
            changed: VecDeque::new(),
            round: VecDeque::new(),
            now_mark: None,
            now_at: Mono(0),
            round_at: Mono(0),
            all_at: Mono(0),
            follower: None,
            announced: None,
            catching_up: false,
        }
    }

    /// Appends what is to be said next; nothing when all is said for now.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>) {
        let agent = Arc::clone(&self.session.agent);
        let now = clock::mono();
        for message in std::mem::take(&mut self.session.shared().outbox) {
            push(out, &message);
        }
        // Trouble that comes or goes is told at once.
        let in_trouble = agent.recorder.spool.trouble().is_some();
        if now >= self.beat_at || in_trouble != self.told_trouble {
            self.told_trouble = in_trouble;
            self.beat_at = now.after(Duration::from_secs(proto::BEAT_EVERY_S));
            let (at, status) = (clock::wall(), Some(agent.status()));
            push(out, &Message::Beat { at, status });
        }
        let resumed = self.session.shared().resume.is_some();
        let records = resumed.then(|| self.fill_results(now, out)).flatten();
        let mut shared = self.session.shared();
        shared.flow.sent(out.len());
        if let Some(last) = records {
            shared.flow.mark(last, now);
        }
    }

    /// When there may be something to say though nobody rings.
    pub(super) fn wake_at(&self) -> Mono {
        match self.now_mark.is_some() && self.behind() {
            true => self.beat_at.min(self.now_at.after(NOW_EVERY)),
            false => self.beat_at,
        }
    }

    /// Whether records lag behind the present.
    fn behind(&self) -> bool {
        self.catching_up || self.told_trouble
    }

    /// Appends states or records; up to which record.
    fn fill_results(&mut self, now: Mono, out: &mut Vec<u8>) -> Option<(Epoch, u64)> {
        let first = self.now_mark.is_none();
        let looked = self.look(now);
        let (room, unmarked) = {
            let flow = &self.session.shared().flow;
            (flow.room(), flow.unmarked())
        };
        if first {
            self.push_now(0, proto::NOW_TARGETS_MAX, out);
            return None;
        }
        if room == 0 {
            self.catching_up = self.lacks_records();
            if looked && !self.changed.is_empty() {
                self.push_now(NOW_SQUEEZED_MAX, 0, out);
            }
            return None;
        }
        let to_tell = !self.changed.is_empty() || !self.round.is_empty();
        // Only records tell how far the link has come, so there are always some among states.
        if !to_tell || unmarked > room / 2 {
            let records = self.push_records(room, out);
            if records.is_some() {
                return records;
            }
        }
        if to_tell {
            self.push_now(proto::NOW_TARGETS_MAX, proto::NOW_TARGETS_MAX, out);
        }
        None
    }

    /// Looks for states to tell, when it is time: at first all of them; while records lag
    /// behind, those that changed, and from time to time all. Whether it was time.
    fn look(&mut self, now: Mono) -> bool {
        let first = self.now_mark.is_none();
        if !first && (!self.behind() || now.since(self.now_at) < NOW_EVERY) {
            return false;
        }
        self.now_at = now;
        let recorder = &self.session.agent.recorder;
        if first || now >= self.all_at && self.round.is_empty() {
            self.round = recorder.places().into();
            self.round_at = now;
        }
        if let Some(mark) = self.now_mark {
            let (seq, _, changed) = recorder.states(&[], mark);
            self.note_changed(seq, changed);
        }
        true
    }

    /// Appends at most so many states: those that have changed, then those whose turn it is.
    fn push_now(&mut self, changed: usize, all: usize, out: &mut Vec<u8>) {
        let changed = self.changed.len().min(changed);
        let in_turn = self.round.len().min(all.saturating_sub(changed));
        let places = self.changed.drain(..changed);
        let places: Vec<usize> = places.chain(self.round.drain(..in_turn)).collect();
        let recorder = &self.session.agent.recorder;
        let epoch = recorder.spool.epoch();
        // What else has changed by then is history as a record, so it has to be told, too.
        let mark = self.now_mark.unwrap_or(u64::MAX);
        let (seq, targets, more) = recorder.states(&places, mark);
        push(
            out,
            &Message::Now {
                epoch,
                seq,
                targets,
            },
        );
        self.note_changed(seq, more);
        if in_turn > 0 && self.round.is_empty() {
            let now = clock::mono();
            let took = now.since(self.round_at);
            self.all_at = now.after(NOW_ALL_EVERY.max(took * 3 / 2));
        }
    }

    /// There is news of these up to this number; what is settled can wait for its turn.
    fn note_changed(&mut self, seq: u64, places: Vec<(usize, bool)>) {
        self.now_mark = Some(seq);
        if places.is_empty() {
            return;
        }
        let (changed, new): (Vec<_>, Vec<_>) = places.into_iter().partition(|(_, urgent)| *urgent);
        for (queue, places) in [(&mut self.changed, changed), (&mut self.round, new)] {
            let waiting: HashSet<usize> = queue.iter().copied().collect();
            let places = places.into_iter().map(|(place, _)| place);
            queue.extend(places.filter(|place| !waiting.contains(place)));
        }
    }

    /// Whether there are records that were not sent.
    fn lacks_records(&self) -> bool {
        let shared = self.session.shared();
        let ranges = self.session.agent.recorder.spool.ranges();
        let sent = |epoch| shared.sent.get(&epoch).copied().unwrap_or(0);
        ranges.iter().any(|range| sent(range.epoch) < range.last)
    }

    /// Appends about so many bytes of the oldest epoch that the manager lacks something of;
    /// up to which record.
    fn push_records(&mut self, room: u64, out: &mut Vec<u8>) -> Option<(Epoch, u64)> {
        let spool = Arc::clone(&self.session.agent.recorder.spool);
        let bytes = usize::try_from(room).unwrap_or(usize::MAX).min(BATCH_BYTES);
        self.catching_up = false;
        for range in spool.ranges() {
            let sent = self
                .session
                .shared()
                .sent
                .get(&range.epoch)
                .copied()
                .unwrap_or(0);
            if sent >= range.last {
                continue;
            }
            let fits = self
                .follower
                .as_ref()
                .is_some_and(|f| f.epoch() == range.epoch && f.next() == sent + 1);
            if !fits {
                self.follower = Some(Follower::new(range.epoch, sent + 1));
            }
            let follower = self.follower.as_mut().expect("just set");
            let mut batch = Vec::new();
            let read = follower.read(spool.index(), range.last, bytes, clock::wall(), &mut batch);
            if let Err(error) = read {
                log::line(format_args!("spool: {error}"));
            }
            if batch.is_empty() {
                continue;
            }
            let through = follower.next() - 1;
            self.session.shared().sent.insert(range.epoch, through);
            #[cfg(test)]
            if clock::simulated::is_broken(clock::simulated::Broken::DeleteBeforeAck) {
                spool.acknowledged(range.epoch, through);
            }
            if self.announced.replace(range.epoch) != Some(range.epoch) {
                push(out, &Message::Epoch(range.epoch));
            }
            self.catching_up = through < range.last || range.epoch != spool.epoch();
            out.extend_from_slice(&batch);
            return Some((range.epoch, through));
        }
        None
    }
}

fn push(out: &mut Vec<u8>, message: &Message) {
    out.extend_from_slice(message.line().as_bytes());
}

impl Agent {
    /// The agent's hello: under a key it goes by the name the key is for.
    pub(super) fn hello(&self, side: Side, key: Option<&Key>, expects: Option<Name>) -> Hello {
        Hello {
            version: proto::VERSION,
            role: Role::Agent,
            side,
            id: self.id,
            name: key.and_then(Key::agent).unwrap_or(&self.name).clone(),
            instance: self.instance,
            at: clock::wall(),
            expects,
            auth: None,
        }
    }

    fn status(&self) -> Status {
        let spool = &self.recorder.spool;
        Status {
            epochs: spool.ranges(),
            revision: self.settings().revision().cloned(),
            trouble: spool.trouble(),
            dropped: spool.dropped(),
        }
    }

    /// Notes a manager's progress and lets go of what nobody lacks any more.
    fn reached(&self, serial: u64, epoch: Epoch, seq: u64) {
        let mut managers = self.managers();
        managers.reached(serial, epoch, seq);
        let floor = managers.floor(epoch);
        let cursors = managers.cursors(epoch);
        drop(managers);
        self.recorder.spool.note_cursors(epoch, cursors);
        if floor > 0 {
            self.recorder.spool.acknowledged(epoch, floor);
        }
    }

    /// Takes a whole configuration; the answer to it.
    fn configure(&self, revision: &crate::model::Revision, take_over: bool, text: &str) -> Message {
        let mut settings = self.settings();
        match settings.offer(revision, take_over, text) {
            Ok(targets) => {
                if let Some(targets) = targets {
                    let count = targets.len();
                    self.prober.replace(targets);
                    let (counter, owner) = (revision.counter, &revision.owner_name);
                    log::line(format_args!(
                        "configuration {counter} of manager {owner} applied: {count} targets"
                    ));
                }
                Message::Applied(
                    settings
                        .revision()
                        .cloned()
                        .unwrap_or_else(|| revision.clone()),
                )
            }
            Err(problems) => {
                let owner = &revision.owner_name;
                log::line(format_args!(
                    "configuration {} of manager {owner} rejected: {}",
                    revision.counter,
                    problems.join("; ")
                ));
                Message::Rejected {
                    hash: revision.hash,
                    problems: fitting(problems),
                    current: settings.revision().cloned(),
                }
            }
        }
    }
}

/// As many problems as fit a line, the rest counted.
fn fitting(problems: Vec<String>) -> Vec<String> {
    let total = problems.len();
    let mut room = proto::LINE_BYTES_MAX / 4;
    let mut kept: Vec<String> = problems
        .into_iter()
        .take_while(|p| {
            let fits = p.len() <= room;
            room = room.saturating_sub(p.len());
            fits
        })
        .collect();
    if kept.len() < total {
        kept.push(format!("and {} more", total - kept.len()));
    }
    kept
}

#[cfg(test)]
mod tests;
