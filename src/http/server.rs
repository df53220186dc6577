//! Answering HTTP/1.1: connections, what they may take of time and how many there may be,
//! and streams of events (HTML standard, section 9.2, server-sent events).
//!
//! What is answered is the handler's matter. It runs on the connection's own thread: a slow
//! reader costs that thread and no one else's time.

use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::reply::{EVENTS, Reply};
use super::request::{Method, NoHead, Request, read_head};
use crate::clock;
use crate::error::{Context, Error, Result};
use crate::log;
use crate::model::Mono;
use crate::net::listen::{self, Gate, Stop};
use crate::net::stream::{TimedStream, write_by};
use crate::probe::goodbye;
use crate::threads;

/// Most connections at once; more wait in the kernel.
pub const CONNECTIONS_MAX: usize = 64;
/// Most of them that may be streams of events.
pub const STREAMS_MAX: usize = 32;
/// How long a connection may rest between two requests, and how long a request's head may
/// take to arrive; and both where three quarters of the connections are taken.
const REST_MAX: Duration = Duration::from_secs(30);
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const CROWDED_WITHIN: Duration = Duration::from_secs(1);
/// A reader gets this long for an answer, and a second more for so many bytes of it.
const SEND_WITHIN: Duration = Duration::from_secs(30);
const SEND_BYTES_PER_S: usize = 16 * 1024;
/// Most requests of one connection.
const REQUESTS_MAX: usize = 1000;
/// How long a stream lasts; the browser begins another one by itself.
const STREAM_LASTS: Duration = Duration::from_secs(600);
/// A stream without events says this often that it is alive.
const STREAM_BEAT: Duration = Duration::from_secs(15);
const STACK_BYTES: usize = 64 * 1024;

/// What a handler answers with.
pub enum Answer {
    Whole(Reply),
    /// Events, for as long as the function goes on.
    Events(Box<Run>),
}

/// What sends events.
type Run = dyn FnOnce(&mut Events<'_>) -> io::Result<()>;

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer::Whole(reply)
    }
}

/// Where events go.
pub struct Events<'s> {
    stream: &'s mut TcpStream,
    ends_at: Mono,
    beat_at: Mono,
}

impl Events<'_> {
    /// Sends one event. `data` may have several lines.
    pub fn send(&mut self, name: &str, data: &str) -> io::Result<()> {
        let mut text = format!("event: {name}\n");
        for line in data.split('\n') {
            text.push_str("data: ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
        self.write(&text)
    }

    /// Says now and then that it is alive; an error when the client is gone or the time
    /// is up.
    pub fn beat(&mut self) -> io::Result<()> {
        let now = clock::mono();
        if now >= self.ends_at {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match now >= self.beat_at {
            true => self.write(":\n\n"),
            false => Ok(()),
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.beat_at = clock::mono().after(STREAM_BEAT);
        write_by(
            self.stream,
            text.as_bytes(),
            clock::mono().after(SEND_WITHIN),
        )
    }
}

/// What was answered so far, for who measures.
#[derive(Debug, Default)]
pub struct Served {
    by_status: Mutex<BTreeMap<u16, u64>>,
    streams: AtomicUsize,
}

impl Served {
    fn count(&self, status: u16) {
        *self
            .by_status
            .lock()
            .expect("served")
            .entry(status)
            .or_default() += 1;
    }

    /// Answers by status.
    pub fn by_status(&self) -> BTreeMap<u16, u64> {
        self.by_status.lock().expect("served").clone()
    }

    /// Streams of events that are open.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }
}

/// One of the streams that may be open; given back when dropped.
struct StreamPlace<'s>(&'s Served);

impl<'s> StreamPlace<'s> {
    fn take(served: &'s Served) -> Option<StreamPlace<'s>> {
        let taken = served.streams.fetch_add(1, Ordering::SeqCst);
        let place = StreamPlace(served);
        (taken < STREAMS_MAX).then_some(place)
    }
}

impl Drop for StreamPlace<'_> {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers on `addr` from now on, for as long as the process lives; where that is.
///
/// # Errors
/// It cannot be listened on, or no thread started.
pub fn start<H>(addr: SocketAddr, served: Arc<Served>, handler: H) -> Result<SocketAddr>
where
    H: Fn(&Request) -> Answer + Send + Sync + 'static,
{
    let listener = listen::bind(addr)?;
    let bound = listen::local_addr(&listener)?;
    let run = move || {
        if let Err(error) = serve(listener, &served, handler) {
            log::line(format_args!("http: {error}"));
        }
    };
    threads::start("http-accept", STACK_BYTES, run)
        .context(|| "start the http thread".to_string())?;
    Ok(bound)
}

fn serve<H>(listener: TcpListener, served: &Arc<Served>, handler: H) -> Result<()>
where
    H: Fn(&Request) -> Answer + Send + Sync + 'static,
{
    let gate = Gate::new(CONNECTIONS_MAX);
    let stop = Stop::new(&listener, &gate)?;
    let (served, of_gate) = (Arc::clone(served), gate.clone());
    let each = move |stream: TcpStream, _| {
        // Whoever leaves early has had what it wanted.
        let _ = connection(stream, &of_gate, &served, &handler);
    };
    listen::serve(listener, &gate, "http", each, &stop);
    Err(Error::new("the listener ended"))
}

/// Answers the requests of one connection, one after the other.
fn connection(
    stream: TcpStream,
    gate: &Gate,
    served: &Served,
    handler: &dyn Fn(&Request) -> Answer,
) -> io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut source = BufReader::new(TimedStream::new(stream, clock::mono())?);
    for no in 1..=REQUESTS_MAX {
        let crowded = gate.count() * 4 >= CONNECTIONS_MAX * 3;
        let (rest, within) = match (no, crowded) {
            (_, true) => (CROWDED_WITHIN, CROWDED_WITHIN),
            (1, false) => (HEAD_WITHIN, HEAD_WITHIN),
            (_, false) => (REST_MAX, HEAD_WITHIN),
        };
        let head = read_in_time(&mut source, rest, within);
        let request = match head.map(|head| head.map(|head| Request::parse(&head))) {
            Ok(Some(Ok(request))) => request,
            Ok(None) | Err(NoHead::Gone(_)) => return Ok(()),
            Ok(Some(Err(refused))) | Err(NoHead::Refused(refused)) => {
                let reply = Reply::refused(&refused);
                let (status, bytes) = reply.bytes(None, true, clock::wall());
                served.count(status);
                send(&mut out, &bytes)?;
                break;
            }
        };
        let closes = !request.keeps_alive || no == REQUESTS_MAX;
        let reply = match handler(&request) {
            Answer::Whole(reply) => reply,
            Answer::Events(run) if request.method == Method::Get => {
                return stream_events(&mut out, served, &request, run);
            }
            Answer::Events(_) => Reply::new(EVENTS, ""),
        };
        let (status, bytes) = reply.bytes(Some(&request), closes, clock::wall());
        served.count(status);
        send(&mut out, &bytes)?;
        if closes {
            break;
        }
    }
    goodbye(out, HEAD_WITHIN);
    Ok(())
}

/// Waits up to `rest` for a request to begin, then up to `within` for the end of its head.
fn read_in_time(
    source: &mut BufReader<TimedStream>,
    rest: Duration,
    within: Duration,
) -> std::result::Result<Option<Vec<u8>>, NoHead> {
    use std::io::BufRead;
    source.get_mut().deadline = clock::mono().after(rest);
    if source.fill_buf().map_err(NoHead::Gone)?.is_empty() {
        return Ok(None);
    }
    source.get_mut().deadline = clock::mono().after(within);
    read_head(source)
}

fn send(out: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let more = Duration::from_secs((bytes.len() / SEND_BYTES_PER_S) as u64);
    write_by(out, bytes, clock::mono().after(SEND_WITHIN + more))
}

fn stream_events(
    out: &mut TcpStream,
    served: &Served,
    request: &Request,
    run: Box<Run>,
) -> io::Result<()> {
    let place = StreamPlace::take(served);
    let reply = match place {
        Some(_) => Reply::new(EVENTS, ""),
        None => Reply::text(503, "too many streams of events are open").with("Retry-After", "30"),
    };
    let (status, bytes) = reply.bytes(Some(request), true, clock::wall());
    served.count(status);
    send(out, &bytes)?;
    if place.is_none() {
        return Ok(());
    }
    let now = clock::mono();
    run(&mut Events {
        stream: out,
        ends_at: now.after(STREAM_LASTS),
        beat_at: now.after(STREAM_BEAT),
    })
}

#[cfg(test)]
mod tests;
