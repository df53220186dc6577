//! The API: JSON as `status`, `report` and `audit` print it, and what has no command.

use super::{Site, View, failed, not_found, wrong};
use crate::http::reply::{JSON, Reply};
use crate::http::request::Request;
use crate::json::{self, Object};
use crate::manager::trend::{Bar, By};
use crate::manager::{audit, events, report, status};
use crate::model::{Name, Wall};
use crate::units::parse_moment;

/// A JSON document, whose reader may ask whether its copy is still good.
fn document(text: String) -> Reply {
    Reply::new(JSON, text).tagged()
}

/// Whether there is something to show: the fleet is loaded, and the history read.
pub fn ready(site: &Site) -> Reply {
    let is_loaded = site.core.path().is_some() || !site.core.fleet().targets.is_empty();
    match (is_loaded, site.past.sums().is_complete) {
        (false, _) => Reply::text(503, "no fleet file is loaded"),
        (true, false) => Reply::text(503, "the history is still being read"),
        (true, true) => Reply::text(200, "ok"),
    }
}

/// As `tcpmon-manager status --json`.
pub fn status(site: &Site, view: &View) -> Reply {
    match status::receivers(site.core.data(), &view.fleet) {
        Ok(receivers) => document(status::json(&view.board, &receivers, &site.core.exports())),
        Err(error) => failed(&error),
    }
}

/// The agents of the status alone.
pub fn agents(view: &View) -> Reply {
    let mut out = String::new();
    json::object(&mut out, |o| {
        o.array("agents", |a| {
            for agent in &view.board.agents {
                a.object(|o| status::write_agent(o, agent));
            }
        });
    });
    document(out + "\n")
}

/// What was told lately, or after the event of a number: `?after=17`.
pub fn events(site: &Site, request: &Request) -> Reply {
    let after = match request.query("after").map(str::parse) {
        None => 0,
        Some(Ok(no)) => no,
        Some(Err(_)) => return wrong("after", "expected the number of an event"),
    };
    let mut events = site.core.events(&site.core.board().lock().expect("board"));
    events.retain(|event| event.no > after);
    document(events::list(&events))
}

/// One target of the status, where it belongs, and its bars.
pub fn target(site: &Site, view: &View, name: &str) -> Reply {
    let targets = view.targets();
    let Some((row, target)) = targets.iter().find(|(row, _)| row.name.as_str() == name) else {
        return not_found();
    };
    let sums = site.past.sums();
    let trend = sums.trends.get(row.name).cloned().unwrap_or_default();
    let is_complete = sums.is_complete;
    drop(sums);
    let mut out = String::new();
    json::object(&mut out, |o| {
        status::write_target(o, row);
        if let Some(group) = &target.group {
            o.str("group", group.as_str());
        }
        o.array("tags", |a| {
            for tag in &target.tags {
                a.str(tag.as_str());
            }
        });
        o.bool("complete", is_complete);
        for by in By::ALL {
            let bars = trend.bars(by, view.now);
            o.array(&format!("{}s", by.as_str()), |a| {
                for (at, bar) in bars.into_iter().filter_map(|(at, bar)| Some((at, bar?))) {
                    a.object(|o| write_bar(o, at, bar));
                }
            });
        }
    });
    document(out + "\n")
}

/// A stretch of time that was measured.
pub fn write_bar(o: &mut Object<'_>, at: Wall, bar: &Bar) {
    o.u64("at", at.0)
        .u64("probes", bar.probes())
        .u64("ok", bar.latencies.count());
    for (key, q) in [("p50_us", 0.5), ("p95_us", 0.95), ("max_us", 1.0)] {
        match bar.latencies.quantile(q) {
            Some(us) => o.u64(key, us),
            None => o.null(key),
        };
    }
}

/// As `tcpmon-manager audit --json`; it reads all of the history.
pub fn audit(site: &Site, view: &View) -> Reply {
    let _reading = site.reading.lock().expect("reading");
    match audit::run(site.core.data(), Some(&view.fleet)) {
        Ok(audit) => document(audit.json()),
        Err(error) => failed(&error),
    }
}

/// As `tcpmon-manager report --json`: `?since=7d&until=2026-12-01T22:00Z`.
pub fn report(site: &Site, view: &View, request: &Request) -> Reply {
    let (since, until) = match window(request, ["since", "until"], view.now) {
        Ok(window) => window,
        Err(reply) => return reply,
    };
    let _reading = site.reading.lock().expect("reading");
    let data = site.core.data();
    let left_out = report::left_out(&view.fleet, data, since, until);
    let report = left_out.and_then(|out| report::run(data, Some(&view.fleet), since, until, &out));
    match report {
        Ok(report) => document(report.json()),
        Err(error) => failed(&error),
    }
}

/// From when until when a query asks, a day up to now where it does not say.
pub fn window(
    request: &Request,
    [from, to]: [&str; 2],
    now: Wall,
) -> std::result::Result<(Wall, Wall), Reply> {
    let moment = |name: &str| {
        let given = request.query(name).map(|text| moment(text, now));
        given.transpose().map_err(|expected| wrong(name, &expected))
    };
    let until = moment(to)?.unwrap_or(now).min(now);
    let usual = until.before(report::SINCE_DEFAULT);
    let since = moment(from)?.unwrap_or(usual);
    match since < until {
        true => Ok((since, until)),
        false => Err(wrong(from, &format!("expected a time before {to}"))),
    }
}

/// A moment as `report` takes it, or Unix milliseconds.
fn moment(text: &str, now: Wall) -> std::result::Result<Wall, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse().ok().filter(|_| digits) {
        Some(ms) => Ok(Wall(ms)),
        None => {
            parse_moment(text, now).map_err(|expected| format!("{expected}, or Unix milliseconds"))
        }
    }
}

/// The name in a path or a query, if it is one.
pub fn name(text: &str) -> Option<Name> {
    text.parse().ok()
}
