//! The receiving side of one session: stores what comes, shows it, acknowledges it
//! once it is durable, and keeps the books on what the agent says of itself.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::{BATCH_LINES, Link, SYNC_BEHIND_EVERY, SYNC_EVERY, Shared};
use crate::channel::Reader;
use crate::clock;
use crate::error::{Error, Result};
use crate::journal::Trust;
use crate::manager::history::{History, Taken};
use crate::manager::state::AgentState;
use crate::model::{Epoch, Mono, Revision, TEXT_LEN_MAX, Wall};
use crate::net::line::Step;
use crate::proto::{self, EpochRange, Message, Status};
use crate::record::{Body, GapWhy, Record};
use crate::text::cut;

/// The receiving side of one session.
pub(super) struct Intake {
    link: Arc<Link>,
    /// What the records that come are of.
    epoch: Option<Epoch>,
    /// The agent's current epoch.
    current: Option<Epoch>,
    fresh: Vec<Record>,
    lines: usize,
    sync_at: Option<Mono>,
    /// How long the last sync took.
    sync_took: Duration,
}

impl Intake {
    pub(super) fn new(link: &Arc<Link>) -> Intake {
        Intake {
            link: Arc::clone(link),
            epoch: None,
            current: None,
            fresh: Vec::new(),
            lines: 0,
            sync_at: None,
            sync_took: Duration::ZERO,
        }
    }

    /// Reads until something ends the session.
    pub(super) fn read(&mut self, reader: &mut Reader) -> Result<()> {
        let silence = Duration::from_secs(proto::SILENCE_MAX_S);
        loop {
            let dead_at = reader.stream().heard.after(silence);
            reader.stream().deadline = self.sync_at.map_or(dead_at, |at| at.min(dead_at));
            match reader.step() {
                Ok(Step::Whole) => self.line(reader.line())?,
                Ok(Step::End) => return Err(Error::new("closed by the agent")),
                Ok(Step::Torn) => return Err(Error::new("closed by the agent within a line")),
                Err(error) if error.is_timeout() => {
                    if clock::mono() >= reader.stream().heard.after(silence) {
                        return Err(Error::new(format!("silent for {} s", proto::SILENCE_MAX_S)));
                    }
                }
                Err(error) => return Err(Error::new(error.to_string())),
            }
            if self.lines >= BATCH_LINES || !reader.ready() {
                self.flush()?;
            }
            self.sync_if_due()?;
        }
    }

    /// Takes one line that the agent has sent.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<()> {
        if line.starts_with(b"{\"seq\":") {
            return self.record(line);
        }
        self.flush()?;
        let message = Message::parse(line).map_err(Error::new)?;
        match message {
            Message::Beat { at, status } => self.beat(at, status),
            Message::Epoch(epoch) => {
                self.epoch = Some(epoch);
                Ok(())
            }
            Message::Now {
                epoch,
                seq,
                targets,
            } => {
                let now = clock::wall();
                let mut board = self.link.core.board().lock().expect("board");
                board.now_message(&self.link.name, epoch, seq, &targets, now);
                drop(board);
                self.link.core.note_mark(&self.link.name, epoch, seq);
                self.link.core.bell().ring();
                self.link.shared().unsaved = true;
                Ok(())
            }
            Message::Taken { hash, part } => {
                self.link.part_taken(hash, part);
                Ok(())
            }
            Message::Applied(revision) => {
                let mut shared = self.link.shared();
                shared.state.applied = Some(revision);
                shared.state.rejected = None;
                self.changed(shared)
            }
            Message::Rejected {
                problems, current, ..
            } => {
                let mut shared = self.link.shared();
                shared.state.applied = current;
                shared.state.rejected = Some(problems.join("; "));
                shared.refused();
                self.changed(shared)
            }
            Message::Bye { text } => {
                let text = cut(&text, TEXT_LEN_MAX);
                Err(Error::new(format!("the agent said goodbye: {text}")))
            }
            _ => Err(Error::new(
                "the agent sent a message that only managers send",
            )),
        }
    }

    fn changed(&self, mut shared: MutexGuard<'_, Shared>) -> Result<()> {
        shared.unsaved = true;
        drop(shared);
        self.link.publish();
        Ok(())
    }

    fn record(&mut self, line: &[u8]) -> Result<()> {
        let epoch = self
            .epoch
            .ok_or_else(|| Error::new("a record came before its epoch"))?;
        let mut history = self.link.history.lock().expect("history");
        let history = history
            .as_mut()
            .ok_or_else(|| Error::new("no history is open"))?;
        if let Taken::New(record) = history.take(epoch, line)? {
            if let Body::Lost { epoch, last, .. } = record.body {
                history.give_up(epoch, last, GapWhy::SpoolLimit, clock::wall())?;
            }
            self.fresh.push(record);
        }
        self.lines += 1;
        Ok(())
    }

    /// Writes what was taken and shows it.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.lines == 0 {
            return Ok(());
        }
        self.lines = 0;
        let Some(epoch) = self.epoch else {
            return Ok(());
        };
        let core = &self.link.core;
        let to_fetch = {
            let mut history = self.link.history.lock().expect("history");
            let history = history
                .as_mut()
                .ok_or_else(|| Error::new("no history is open"))?;
            history.write()?;
            let to_fetch = history.to_fetch(&self.link.shared().state.announced_epochs);
            if history.is_dirty() && self.sync_at.is_none() {
                let behind = SYNC_BEHIND_EVERY.max(self.sync_took * 4).min(SYNC_EVERY);
                let rest = if to_fetch > 0 { behind } else { SYNC_EVERY };
                self.sync_at = Some(clock::mono().after(rest));
            }
            to_fetch
        };
        let now = clock::wall();
        let mut board = core.board().lock().expect("board");
        for record in &self.fresh {
            board.record(&self.link.name, epoch, record, now);
        }
        drop(board);
        if let Some(last) = self.fresh.last().filter(|_| self.current == Some(epoch)) {
            core.note_mark(&self.link.name, epoch, last.seq);
        }
        self.fresh.clear();
        let mut shared = self.link.shared();
        shared.state.last_seen = Some(now);
        let caught_up = shared.to_fetch != to_fetch;
        shared.to_fetch = to_fetch;
        drop(shared);
        match caught_up {
            true => self.link.publish(),
            false => core.bell().ring(),
        }
        Ok(())
    }

    pub(super) fn sync_if_due(&mut self) -> Result<()> {
        if self.sync_at.is_none_or(|at| clock::mono() < at) {
            return Ok(());
        }
        self.sync_at = None;
        let mut history = self.link.history.lock().expect("history");
        let began = clock::mono();
        let synced = history.as_mut().map(History::sync).transpose()?;
        self.sync_took = clock::mono().since(began);
        drop(history);
        for (epoch, seq) in synced.unwrap_or_default() {
            self.link.post(Message::Ack { epoch, seq });
        }
        Ok(())
    }

    /// When what was written is to be made durable.
    #[cfg(test)]
    pub(super) fn sync_at(&self) -> Option<Mono> {
        self.sync_at
    }

    /// The agent is alive, and says how it is.
    fn beat(&mut self, at: Wall, status: Option<Status>) -> Result<()> {
        let Some(status) = status else {
            return Err(Error::new("a beat without the agent's status"));
        };
        self.current = status.epochs.last().map(|r| r.epoch);
        let to_fetch = self.give_up_what_vanished(&status.epochs)?;
        let now = clock::wall();
        let mut shared = self.link.shared();
        if let Some(live) = &mut shared.session {
            live.heard = clock::mono();
        }
        let first = !std::mem::replace(&mut shared.status_seen, true);
        let state = &mut shared.state;
        if first {
            state.connected = true;
            state.since = now;
            state.text.clear();
        }
        if let Some(current) = status.epochs.last() {
            state.compare_clocks(at, now, current, first);
        }
        self.take_over_if_asked(state, status.revision.as_ref());
        state.last_seen = Some(now);
        state.applied = status.revision;
        state.trouble = status.trouble.unwrap_or_default();
        state.announced_epochs = status.epochs;
        shared.to_fetch = to_fetch;
        shared.unsaved = true;
        drop(shared);
        if first {
            self.resume()?;
            // So that whoever reads the files sees at once that it is connected.
            self.link.save_if_changed()?;
        }
        self.link.bell.ring();
        self.link.publish();
        Ok(())
    }

    /// A manager that takes over numbers its configuration past the one in force.
    fn take_over_if_asked(&self, state: &mut AgentState, in_force: Option<&Revision>) {
        if let (true, Some(in_force), Some((counter, hash))) =
            (self.link.core.takes_over(), in_force, state.wanted)
        {
            if in_force.hash != hash && in_force.counter >= counter {
                state.wanted = Some((in_force.counter + 1, hash));
            }
        }
    }

    /// An earlier run's records that the agent once announced and no longer holds are
    /// lost; a gap says so. The rest of what it holds is still to be fetched.
    fn give_up_what_vanished(&self, held: &[EpochRange]) -> Result<u64> {
        let announced = self.link.shared().state.announced_epochs.clone();
        let mut history = self.link.history.lock().expect("history");
        let history = history
            .as_mut()
            .ok_or_else(|| Error::new("no history is open"))?;
        for before in announced.iter().filter(|r| Some(r.epoch) != self.current) {
            let last = held
                .iter()
                .find(|r| r.epoch == before.epoch)
                .map_or(0, |r| r.last);
            if before.last > last && history.cursor(before.epoch) >= last {
                history.give_up(before.epoch, before.last, GapWhy::Vanished, clock::wall())?;
            }
        }
        Ok(history.to_fetch(held))
    }

    /// Says how far each epoch is stored, and from where on the state follows records.
    fn resume(&self) -> Result<()> {
        let held = self.link.shared().state.announced_epochs.clone();
        let mut history = self.link.history.lock().expect("history");
        let history = history
            .as_mut()
            .ok_or_else(|| Error::new("no history is open"))?;
        let trust = match self.link.shared().distrusts_disk {
            true => Trust::Lost,
            false => Trust::Whole,
        };
        // Until all of it is known to be durable.
        self.link.shared().distrusts_disk = true;
        let cursor = |r: &EpochRange| Ok((r.epoch, history.durable_cursor(r.epoch, trust)?));
        let cursors = held.iter().map(cursor).collect::<Result<Vec<_>>>()?;
        self.link.shared().distrusts_disk = false;
        self.link.post(Message::Resume(cursors));
        Ok(())
    }
}
