//! Dialling out: for hosts behind NAT, where no manager can connect to. One thread for
//! each manager dials, greets and serves, then does it again. After the greeting nothing
//! differs from a manager that has dialled.

use std::sync::Arc;

use super::Agent;
use super::session::{self, Seat};
use crate::channel::{self, Channel};
use crate::clock;
use crate::error::{Context, Error, Result};
use crate::key::Key;
use crate::log;
use crate::net::back_off::back_off;
use crate::net::resolve::Resolver;
use crate::proto::Side;
use crate::threads;
use crate::units::HostPort;

/// Most managers to dial.
pub const DIALS_MAX: usize = super::managers::MANAGERS_MAX;
/// For a session, too: see [`crate::net::listen::STACK_BYTES`].
const STACK_BYTES: usize = crate::net::listen::STACK_BYTES;

/// Keeps a session with the manager at `address` from now on.
pub fn start(agent: &Arc<Agent>, resolver: Resolver, address: HostPort) -> Result<()> {
    let agent = Arc::clone(agent);
    let doing = format!("start the thread that dials manager {address}");
    let work = move || keep(&agent, &resolver, &address);
    threads::start("outward", STACK_BYTES, work).context(|| doing)?;
    Ok(())
}

fn keep(agent: &Arc<Agent>, resolver: &Resolver, address: &HostPort) {
    let mut failures = 0u32;
    let mut told = String::new();
    // Of several keys the one that last worked, else each in turn.
    let mut turn = 0usize;
    loop {
        match greet(agent, resolver, address, &mut turn) {
            Ok((channel, seat)) => {
                told.clear();
                if session::attend(seat, channel, &format!("at {address}")) {
                    failures = 0;
                }
            }
            Err(error) => {
                // A manager that stays away is told of once, not at every try.
                let text = error.to_string();
                if text != told {
                    log::line(format_args!("manager at {address}: {text}"));
                    told = text;
                }
            }
        }
        failures = failures.saturating_add(1);
        clock::sleep(back_off(failures, clock::random()));
    }
}

/// Dials, greets and admits the manager.
fn greet(
    agent: &Arc<Agent>,
    resolver: &Resolver,
    address: &HostPort,
    turn: &mut usize,
) -> Result<(Channel, Seat)> {
    let hello = |key: Option<&Key>| agent.hello(Side::Dialler, key, None);
    let mut channel = channel::dial(resolver, address, agent.keys.now(), turn, hello)?;
    match session::admit(agent, &channel.peer, channel.key.as_ref()) {
        Ok(seat) => Ok((channel, seat)),
        Err(refusal) => {
            channel.refuse(&refusal.text);
            Err(Error::new(refusal.text))
        }
    }
}
