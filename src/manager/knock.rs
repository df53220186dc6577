//! The manager's own door: agents that can't be dialled dial in here. Who does not
//! belong is turned away, and shown once.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::core::Core;
use super::link::{Contact, Link};
use crate::channel::{self, NoChannel};
use crate::clock;
use crate::config::KeyRule;
use crate::error::{Context, Result};
use crate::key::Key;
use crate::model::Mono;
use crate::net::door::Door;
use crate::net::listen::{self, Gate, STACK_BYTES, Stop};
use crate::proto::Hello;
use crate::proto::handshake::Refusal;
use crate::threads;

/// Most connections that are greeted at once; a greeted one is handed to its link.
const CONNECTIONS_MAX: usize = 32;
/// Most knocks that are told apart.
const KNOCKS_MAX: usize = 64;

/// A knock that has not come again for so long is told anew.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

/// Who has knocked in vain, so that each is told once.
#[derive(Debug, Default)]
pub struct Knocks(Mutex<HashMap<String, Mono>>);

impl Knocks {
    /// Whether this is to be told; `text` names who it was and why not.
    pub fn news(&self, text: &str, now: Mono) -> Option<String> {
        let mut seen = self.0.lock().expect("knocks");
        seen.retain(|_, last| now.since(*last) < REMEMBERED_FOR);
        if let Some(last) = seen.get_mut(text) {
            *last = now;
            return None;
        }
        if seen.len() > KNOCKS_MAX {
            return None;
        }
        seen.insert(text.to_string(), now);
        match seen.len() > KNOCKS_MAX {
            true => Some("more agents are knocking that do not belong; no more are told".into()),
            false => Some(text.to_string()),
        }
    }
}

/// Accepts agents on `addr` from now on; the address that is bound.
pub fn start(core: &Arc<Core>, addr: SocketAddr) -> Result<SocketAddr> {
    let listener = listen::bind(addr)?;
    let bound = listen::local_addr(&listener)?;
    let gate = Gate::new(CONNECTIONS_MAX);
    let stop = Stop::new(&listener, &gate)?;
    let core = Arc::clone(core);
    let accept = move || {
        let door = Arc::new(Door::default());
        let handler = move |stream, peer| greet(&core, &door, stream, peer);
        listen::serve(listener, &gate, "knock", handler, &stop);
    };
    threads::start("accept", STACK_BYTES, accept)
        .context(|| format!("start the thread that listens on {bound}"))?;
    Ok(bound)
}

fn greet(core: &Arc<Core>, door: &Arc<Door>, stream: TcpStream, peer: SocketAddr) {
    let (pass, news) = door.knock(peer.ip(), clock::mono());
    tell(core, news);
    let Ok(pass) = pass else {
        return;
    };
    let (named, link) = (OnceCell::new(), OnceCell::new());
    let answered = channel::answer(
        stream,
        |hello| {
            let _ = named.set(hello.name.clone());
            let (found, ours, key) = introduce(core, hello, peer.ip())?;
            let _ = link.set(found);
            Ok((ours, key))
        },
        |hello, _| link.get().map_or(Ok(()), |link| link.admits(hello)),
    );
    match (answered, link.get()) {
        (Ok((channel, ())), Some(link)) => {
            tell(core, pass.proved());
            link.arrive(channel);
        }
        (Err(NoChannel::Failed(error)), _) => match named.get() {
            Some(name) => {
                // Told once, however often it comes.
                pass.failed_quietly(clock::mono());
                core.turned_away(&format!("an agent named {name} is knocking, {error}"));
            }
            None => {
                let text = format!("a knock from {}: {error}", peer.ip());
                tell(core, pass.failed(&text, clock::mono()));
            }
        },
        (Err(NoChannel::Refused(error)), _) => {
            tell(core, pass.proved());
            if let Some(name) = named.get() {
                core.turned_away(&format!("an agent named {name} is knocking, {error}"));
            }
        }
        (Err(NoChannel::Left), _) if pass.is_held(clock::mono()) => {
            let text = format!("a knock from {}: closed before its hello", peer.ip());
            tell(core, pass.failed(&text, clock::mono()));
        }
        (Err(NoChannel::Left), _) | (Ok(_), None) => {}
    }
}

fn tell(core: &Core, news: Option<String>) {
    if let Some(news) = news {
        core.notice(news);
    }
}

/// The link that an agent's hello is for, and what to answer with.
fn introduce(
    core: &Core,
    theirs: &Hello,
    from: IpAddr,
) -> std::result::Result<(Arc<Link>, Hello, Option<Key>), Refusal> {
    let link = core.link_named(&theirs.name);
    let link = link.ok_or_else(|| Refusal::unauthentic("not in the fleet file"))?;
    if link.contact != Contact::DialsIn {
        let text = "which the fleet file has an address for, not \"dials_in\": true";
        return Err(Refusal::unauthentic(text));
    }
    let keyless_afar = link.key_file.is_none() && !from.to_canonical().is_loopback();
    if keyless_afar && core.key_rule() == KeyRule::Required {
        return Err(Refusal::unauthentic(
            "from beyond loopback, and without a \"key_file\" in the fleet file",
        ));
    }
    let (ours, key) = link.introduce(theirs)?;
    Ok((link, ours, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_knock_is_told_once_and_not_without_end() {
        let knocks = Knocks::default();
        let text = |n| format!("an agent named a{n} is knocking, not in the fleet file");
        for n in 0..KNOCKS_MAX {
            assert_eq!(knocks.news(&text(n), Mono(0)), Some(text(n)));
            assert_eq!(knocks.news(&text(n), Mono(1)), None);
        }
        let last = knocks.news(&text(KNOCKS_MAX), Mono(2)).unwrap();
        assert!(last.starts_with("more agents are knocking"), "{last}");
        assert_eq!(knocks.news(&text(KNOCKS_MAX + 1), Mono(3)), None);
        assert_eq!(knocks.news(&text(0), Mono(4)), None);
        // One that goes on stays told; what came long ago makes room.
        let later = Mono(3_600_000_003);
        assert_eq!(knocks.news(&text(0), later), None);
        assert_eq!(knocks.news(&text(1), later), Some(text(1)));
    }
}
