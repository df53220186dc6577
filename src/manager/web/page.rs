//! The status page: one document with its style, its script and all it shows, and the page
//! of one target.
//!
//! Always: it loads nothing, and says so; without its script it is a table with links.

use std::fmt::Write;
use std::sync::LazyLock;

use super::chart::{chart, summary};
use super::rows::{Ask, STATES, cause, sign, time};
use super::{Site, View, not_found};
use crate::crypto::{base64_encode, sha256};
use crate::http::reply::{HTML, Reply};
use crate::http::request::Request;
use crate::manager::board::{Row, TargetRow};
use crate::manager::trend::By;
use crate::model::{Name, Wall};
use crate::text::html;
use crate::units::latency_text;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const TITLE_DEFAULT: &str = "tcpmon";
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M1 9h3l2-6 3 10 2-4h4' fill='none' stroke='%23297' stroke-width='2'/%3E%3C/svg%3E";

/// What the page may do: its own style and script, and asking its own server.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// As a policy names a text (CSP Level 3, section 2.3.1).
fn hash(text: &str) -> String {
    let mut code = Vec::new();
    base64_encode(&sha256(text.as_bytes()), &mut code);
    format!("sha256-{}", String::from_utf8_lossy(&code))
}

/// A document around its content.
fn document(site: &Site, view: &View, title: &str, content: &str) -> Reply {
    let name = view.fleet.page.title.as_deref().unwrap_or(TITLE_DEFAULT);
    let title = html(title);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title><link rel=\"icon\" href=\"{ICON}\"><style>{STYLE}</style></head><body><header><h1><a href=\"/\">{}</a></h1>{}</header>{content}<footer>tcpmon {} · times in your zone, UTC on hover · <span id=\"live\">this page shows {}</span>{}</footer><script>{SCRIPT}</script></body></html>\n",
        html(name),
        match view.fleet.page.note.as_str() {
            "" => String::new(),
            note => format!("<p class=\"note\">{}</p>", html(note)),
        },
        env!("CARGO_PKG_VERSION"),
        // To the minute, so that what has not changed is not sent again.
        time(Wall(view.now.0 / 60_000 * 60_000)),
        match view.is_public() && site.access.has_login() {
            true => " · <a href=\"/login\">log in</a>",
            false => "",
        },
    );
    Reply::new(HTML, text)
        .tagged()
        .with("Content-Security-Policy", POLICY.as_str())
        .with("X-Frame-Options", "DENY")
}

/// The page.
pub fn whole(site: &Site, view: &View, request: &Request) -> Reply {
    let ask = match Ask::read(request) {
        Ok(ask) => ask,
        Err(reply) => return reply,
    };
    let blocks = site.blocks(view.grant, &ask);
    let name = view.fleet.page.title.as_deref().unwrap_or(TITLE_DEFAULT);
    let content = format!(
        "<main data-stream=\"/stream{}\">{}{}{}{}{}{}{}{}</main>",
        html(&ask.query(ask.page)),
        blocks.other("verdict"),
        blocks.other("open"),
        blocks.other("quiet"),
        form(view, &ask),
        blocks.table(),
        blocks.other("agents"),
        blocks.other("exports"),
        blocks.other("told"),
    );
    document(site, view, &format!("{} · {name}", blocks.title), &content)
}

/// What is searched for, and how long a bar is.
fn form(view: &View, ask: &Ask) -> String {
    let option = |value: &str, text: &str, is_it: bool| {
        let selected = if is_it { " selected" } else { "" };
        format!("<option value=\"{value}\"{selected}>{text}</option>")
    };
    let states: String = STATES
        .iter()
        .map(|s| option(s.as_str(), s.as_str(), ask.state == Some(*s)))
        .collect();
    let mut tags: Vec<&Name> = view.targets().iter().flat_map(|(_, t)| &t.tags).collect();
    tags.sort();
    tags.dedup();
    // More would make the page long, and are in the address of none.
    tags.truncate(100);
    let of_tags: String = tags
        .iter()
        .map(|tag| option(tag.as_str(), tag.as_str(), ask.tag.as_ref() == Some(*tag)))
        .collect();
    let tag = match tags.is_empty() {
        true => String::new(),
        false => format!(
            "<label>Tag <select name=\"tag\">{}{of_tags}</select></label>",
            option("", "any", ask.tag.is_none())
        ),
    };
    let by: String = By::ALL
        .iter()
        .map(|by| option(by.as_str(), by.as_str(), ask.by == *by))
        .collect();
    format!(
        "<form method=\"get\" action=\"/\" role=\"search\"><label>Search <input type=\"search\" name=\"q\" value=\"{}\" maxlength=\"100\"></label><label>State <select name=\"state\">{}{states}</select></label>{tag}<label>Bars by <select name=\"by\">{by}</select></label><button>Show</button></form>",
        html(&ask.search),
        option("", "any", ask.state.is_none()),
    )
}

/// The page of one target, or its inner part for the script (`?part=1`).
pub fn target(site: &Site, view: &View, request: &Request, name: &str) -> Reply {
    let ask = match Ask::read(request) {
        Ok(ask) => ask,
        Err(reply) => return reply,
    };
    let targets = view.targets();
    let Some((row, target)) = targets.iter().find(|(row, _)| row.name.as_str() == name) else {
        return not_found();
    };
    let trend = site
        .past
        .sums()
        .trends
        .get(row.name)
        .cloned()
        .unwrap_or_default();
    let bars = trend.bars(ask.by, view.now);
    let from = bars[0].0;
    let mut part = format!(
        "<figure>{}<figcaption><span>{}</span> <span class=\"r\">{}</span><br>{}; the line is the median, the band reaches to the 95th percentile, ✗ marks those with failures, hatching those not measured.</figcaption></figure>",
        chart(&bars, ask.by),
        time(from),
        time(view.now),
        html(&summary(&bars, ask.by)),
    );
    if !view.is_public() {
        part.push_str(&agents(row));
    }
    if request.query("part").is_some() {
        return Reply::new(HTML, part).tagged();
    }
    let mut facts = Vec::new();
    if let Some(group) = &target.group {
        facts.push(format!("group {group}"));
    }
    if !target.tags.is_empty() {
        let tags: Vec<&str> = target.tags.iter().map(Name::as_str).collect();
        facts.push(format!("tags {}", tags.join(", ")));
    }
    if !view.is_public() {
        facts.push(html(&row.address.to_string()));
    }
    let links: Vec<String> = By::ALL
        .iter()
        .map(|by| match *by == ask.by {
            true => format!("<b>{}</b>", by.as_str()),
            false => format!("<a href=\"?by={0}\">{0}</a>", by.as_str()),
        })
        .collect();
    let since = row
        .since
        .map(|at| format!(" since {}", time(at)))
        .unwrap_or_default();
    let why = match cause(view, row) {
        text if text.is_empty() => String::new(),
        text => format!(": {}", html(&text)),
    };
    let content = format!(
        "<main><p class=\"verdict {0}\">{1} {name} is {0}{since}{why}</p><p class=\"note\">{2}</p><p>Bars by {3}. <a href=\"/\">All targets</a></p>{part}</main>",
        row.state,
        sign(row.state),
        facts.join(" · "),
        links.join(" or "),
    );
    document(site, view, &format!("{} {name}", sign(row.state)), &content)
}

/// What each agent sees of a target.
fn agents(row: &TargetRow<'_>) -> String {
    let mut rows = String::new();
    for agent in &row.agents {
        let _ = write!(rows, "<tr>{}</tr>", agent_cells(agent));
    }
    format!(
        "<table><thead><tr><th scope=\"col\">Seen from</th><th scope=\"col\">State</th><th scope=\"col\">Since</th><th scope=\"col\" class=\"r\">Last</th><th scope=\"col\" class=\"r\">p50</th><th scope=\"col\" class=\"r\">p95</th><th scope=\"col\" class=\"r\">Loss</th><th scope=\"col\">Said</th></tr></thead><tbody>{rows}</tbody></table>"
    )
}

fn agent_cells(row: &Row) -> String {
    let us = |us: Option<u64>| us.map(latency_text).unwrap_or_default();
    let from = match row.address == row.of {
        true => row.agent.to_string(),
        false => format!("{} at {}", row.agent, row.address),
    };
    let loss = row
        .loss
        .map(|loss| format!("{:.1}%", loss * 100.0))
        .unwrap_or_default();
    format!(
        "<th scope=\"row\">{}</th><td><span class=\"b {1}\">{2} {1}</span></td><td class=\"since\">{3}</td><td class=\"r l\">{4}</td><td class=\"r p50\">{5}</td><td class=\"r p95\">{6}</td><td class=\"r loss\">{loss}</td><td class=\"why\">{7}</td>",
        html(&from),
        row.state,
        sign(row.state),
        row.since.map(time).unwrap_or_default(),
        us(row.us),
        us(row.p50_us),
        us(row.p95_us),
        html(&row.text),
    )
}
