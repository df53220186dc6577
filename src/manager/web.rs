//! What the manager shows over HTTP: the status page, the API, metrics, badges.
//!
//! Always: it only looks. It has threads of its own, takes the board for as long as a copy
//! takes and at most twice a second however many ask, and reads the history from disk as
//! anyone could. What is for everyone has neither addresses nor agents nor what they said.

mod api;
mod badge;
mod chart;
mod live;
mod metrics;
mod page;
mod rows;
mod series;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::rows::{Ask, Blocks, blocks};
use super::board::{Snapshot, TargetRow};
use super::core::Core;
use super::past::Past;
use crate::clock;
use crate::config::{Fleet, FleetTarget};
use crate::error::Result;
use crate::http::access::{Access, Grant};
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::http::server::{self, Answer, Served};
use crate::model::{Mono, Name, Wall};

/// How old a copy of the board may be that is shown.
const FRESH: Duration = Duration::from_millis(500);

/// Most different pages that are kept so long.
const SHOWN_MAX: usize = 16;

/// What every answer is made from.
struct Site {
    core: Arc<Core>,
    past: Arc<Past>,
    served: Arc<Served>,
    access: Access,
    started: Wall,
    copy: Mutex<Option<(Mono, Arc<Snapshot>)>>,
    /// Pages as they were made last, for all who look at the same.
    shown: Mutex<Vec<Shown>>,
    /// Held while much of the history is read: one request at a time.
    reading: Mutex<()>,
}

/// The blocks of a page, made for whom and when.
struct Shown {
    at: Mono,
    grant: Grant,
    ask: Ask,
    blocks: Arc<Blocks>,
}

/// What one request sees: a moment, of which some may be hidden.
struct View {
    now: Wall,
    grant: Grant,
    fleet: Arc<Fleet>,
    board: Arc<Snapshot>,
}

/// Answers HTTP for this manager from now on; where.
pub(super) fn start(core: &Arc<Core>, access: Access) -> Result<SocketAddr> {
    let listen = access.listen;
    let served = Arc::new(Served::default());
    let site = Arc::new(Site {
        core: Arc::clone(core),
        past: Past::start(core)?,
        served: Arc::clone(&served),
        access,
        started: clock::wall(),
        copy: Mutex::default(),
        shown: Mutex::default(),
        reading: Mutex::default(),
    });
    server::start(listen, served, move |request| answer(&site, request))
}

impl Site {
    /// The board now, or a moment ago.
    fn board(&self) -> Arc<Snapshot> {
        let mut copy = self.copy.lock().expect("copy of the board");
        let now = clock::mono();
        match &*copy {
            Some((at, board)) if now.since(*at) < FRESH => Arc::clone(board),
            _ => {
                let board = self.core.board().lock().expect("board");
                let fresh = Arc::new(board.snapshot(clock::wall()));
                drop(board);
                *copy = Some((now, Arc::clone(&fresh)));
                fresh
            }
        }
    }

    /// The blocks of a page now, or a moment ago.
    fn blocks(&self, grant: Grant, ask: &Ask) -> Arc<Blocks> {
        let mut shown = self.shown.lock().expect("pages shown");
        let now = clock::mono();
        shown.retain(|page| now.since(page.at) < FRESH);
        let known = shown
            .iter()
            .find(|page| page.grant == grant && page.ask == *ask);
        if let Some(page) = known {
            return Arc::clone(&page.blocks);
        }
        let blocks = Arc::new(blocks(self, &self.view(grant), ask));
        if shown.len() < SHOWN_MAX {
            shown.push(Shown {
                at: now,
                grant,
                ask: ask.clone(),
                blocks: Arc::clone(&blocks),
            });
        }
        blocks
    }

    fn view(&self, grant: Grant) -> View {
        View {
            now: clock::wall(),
            grant,
            fleet: self.core.fleet(),
            board: self.board(),
        }
    }
}

impl View {
    fn is_public(&self) -> bool {
        self.grant == Grant::Public
    }

    /// The targets that may be seen, with what the fleet says of each, by name.
    fn targets(&self) -> Vec<(TargetRow<'_>, &FleetTarget)> {
        let by_name: std::collections::HashMap<&Name, &FleetTarget> =
            self.fleet.targets.iter().map(|t| (&t.name, t)).collect();
        let rows = self.board.targets().into_iter();
        // One that the fleet has no more is about to leave the board, too.
        let known = rows.filter_map(|row| Some((by_name.get(row.name).copied()?, row)));
        let seen = known.filter(|(target, _)| self.shows(&target.name));
        seen.map(|(target, row)| (row, target)).collect()
    }

    /// Whether this target may be seen.
    fn shows(&self, target: &Name) -> bool {
        !self.is_public() || !self.fleet.page.hides(target)
    }
}

/// Every address that there is.
fn answer(site: &Arc<Site>, request: &Request) -> Answer {
    let path = request.path.as_str();
    // Whoever asks whether it lives need not say who it is.
    match path {
        "/healthz" => return Reply::text(200, "ok").into(),
        "/readyz" => return api::ready(site).into(),
        "/login" if site.access.has_login() => return site.access.login(request).into(),
        _ => {}
    }
    let grant = match site.access.grant(request) {
        Ok(grant) => grant,
        Err(reply) => return reply.into(),
    };
    let is_public = grant == Grant::Public;
    let view = site.view(grant);
    match path {
        "/" => return page::whole(site, &view, request).into(),
        "/stream" => return live::stream(site, view.grant, request),
        _ => {}
    }
    if let Some(name) = path.strip_prefix("/target/") {
        return page::target(site, &view, request, name).into();
    }
    if let Some(name) = path
        .strip_prefix("/badge/")
        .and_then(|n| n.strip_suffix(".svg"))
    {
        return badge::badge(&view, name).into();
    }
    if is_public {
        return not_found().into();
    }
    match path {
        "/metrics" => metrics::metrics(site, &view, request),
        "/api/v1/status" => api::status(site, &view),
        "/api/v1/agents" => api::agents(&view),
        "/api/v1/events" => api::events(site, request),
        "/api/v1/audit" => api::audit(site, &view),
        "/api/v1/report" => api::report(site, &view, request),
        "/api/v1/history" => series::history(site, &view, request),
        _ => match path.strip_prefix("/api/v1/targets/") {
            Some(name) => api::target(site, &view, name),
            None => not_found(),
        },
    }
    .into()
}

fn not_found() -> Reply {
    Reply::text(404, "there is nothing here")
}

/// The reply to a query that says something wrong.
fn wrong(name: &str, expected: &str) -> Reply {
    Reply::text(400, &format!("{name}: {expected}"))
}

fn failed(error: &crate::error::Error) -> Reply {
    Reply::text(500, &error.to_string())
}
