//! What the page shows, in blocks that are made anew by themselves: the verdict, what is
//! open, a row for each target, the agents, what was told.
//!
//! The same blocks make the page and what is sent of it later. Always: every text is escaped;
//! whoever is not to see addresses and agents gets no text that might hold one.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::chart::strip;
use super::{Site, View, wrong};
use crate::http::reply::Reply;
use crate::http::request::{Request, encoded};
use crate::manager::board::{AgentRow, EventKind, Link, State, TargetRow};
use crate::manager::quiet::Cause;
use crate::manager::trend::By;
use crate::model::{Name, Wall};
use crate::text::html;
use crate::units::{count_text, duration_text, latency_text, timestamp};

/// Most rows on one page: so many fit unless many have much to say, and where one page ends
/// does not change with what rows say.
const ROWS_MAX: usize = 40;
/// Most bytes of rows on one page, so that the whole stays below 60 KiB where every name has
/// 128 letters and every target is down.
const ROWS_BYTES_MAX: usize = 32 * 1024;
/// Most events, incidents, agents and times of maintenance that are shown.
const EVENTS_MAX: usize = 50;
const INCIDENTS_MAX: usize = 20;
const AGENTS_MAX: usize = 40;
const QUIET_MAX: usize = 10;
/// Most bytes of a cause that is shown in a row, an incident or an event.
const CAUSE_LEN_MAX: usize = 160;
/// Most targets named of one maintenance.
const NAMED_MAX: usize = 8;

/// What of the page is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ask {
    /// In a target's name, address, group or tags.
    pub search: String,
    pub state: Option<State>,
    pub tag: Option<Name>,
    pub by: By,
    /// From 1.
    pub page: usize,
}

pub const STATES: [State; 6] = [
    State::Down,
    State::Unreachable,
    State::Slow,
    State::Stale,
    State::Unknown,
    State::Up,
];

impl Ask {
    /// What a request asks for; what a form leaves empty counts as not said.
    pub fn read(request: &Request) -> Result<Ask, Reply> {
        let given = |name| request.query(name).filter(|value| !value.is_empty());
        let state = |word: &str| STATES.into_iter().find(|state| state.as_str() == word);
        let by = |word: &str| By::ALL.into_iter().find(|by| by.as_str() == word);
        let page = |word: &str| word.parse().ok().filter(|page| *page > 0);
        Ok(Ask {
            search: given("q").unwrap_or_default().to_lowercase(),
            state: read(
                given("state"),
                "state",
                "expected a state such as down",
                state,
            )?,
            tag: read(given("tag"), "tag", "expected a tag", |word| {
                word.parse().ok()
            })?,
            by: read(given("by"), "by", "expected hour or day", by)?.unwrap_or_default(),
            page: read(given("page"), "page", "expected a number from 1", page)?.unwrap_or(1),
        })
    }

    /// The query for the same with another page.
    pub fn query(&self, page: usize) -> String {
        let mut out = format!("?by={}", self.by.as_str());
        if !self.search.is_empty() {
            let _ = write!(out, "&q={}", encoded(&self.search));
        }
        if let Some(state) = self.state {
            let _ = write!(out, "&state={state}");
        }
        if let Some(tag) = &self.tag {
            let _ = write!(out, "&tag={tag}");
        }
        if page > 1 {
            let _ = write!(out, "&page={page}");
        }
        out
    }

    fn takes(&self, view: &View, row: &TargetRow<'_>, group: Option<&Name>, tags: &[Name]) -> bool {
        let found = |text: &str| text.to_lowercase().contains(&self.search);
        let by_search = self.search.is_empty()
            || found(row.name.as_str())
            || group.is_some_and(|group| found(group.as_str()))
            || tags.iter().any(|tag| found(tag.as_str()))
            || (!view.is_public() && found(&row.address.to_string()));
        by_search
            && self.state.is_none_or(|state| row.state == state)
            && self.tag.as_ref().is_none_or(|tag| tags.contains(tag))
    }
}

/// A value of a query, if one is given.
fn read<T>(
    given: Option<&str>,
    name: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Reply> {
    match given {
        None => Ok(None),
        Some(word) => match parse(word) {
            Some(value) => Ok(Some(value)),
            None => Err(wrong(name, expected)),
        },
    }
}

/// Ids and their HTML.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocks {
    /// The table's rows, group lines among them.
    pub rows: Vec<(String, String)>,
    pub others: Vec<(String, String)>,
    /// The verdict, for the title of the page: what it says is of the same moment.
    pub title: String,
    /// What stands before and after the table.
    pub head: String,
    pub foot: String,
}

impl Blocks {
    /// The block that holds all rows.
    pub fn table(&self) -> String {
        let rows: String = self.rows.iter().map(|(_, html)| html.as_str()).collect();
        format!(
            "<section id=\"targets\"><h2>Targets</h2>{}<table><thead><tr><th scope=\"col\">Target</th><th scope=\"col\">State</th><th scope=\"col\">Cause</th><th scope=\"col\">Since</th><th scope=\"col\" class=\"r\">Last</th><th scope=\"col\" class=\"r\">p50</th><th scope=\"col\" class=\"r\">p95</th><th scope=\"col\">Availability</th></tr></thead><tbody>{rows}</tbody></table>{}</section>",
            self.head, self.foot
        )
    }

    /// Another block.
    pub fn other(&self, id: &str) -> &str {
        let found = self.others.iter().find(|(known, _)| known == id);
        found.map_or("", |(_, html)| html.as_str())
    }
}

/// All of it.
pub fn blocks(site: &Site, view: &View, ask: &Ask) -> Blocks {
    let targets = view.targets();
    let mut out = Blocks::default();
    write_rows(&mut out, site, view, ask, &targets);
    let (state, text) = verdict_text(&targets);
    out.title = format!("{} {text}", sign(state));
    let others = [
        ("verdict", verdict(view, state, &out.title)),
        ("open", open(view, &targets)),
        ("quiet", quiet(site, view, &targets)),
        ("agents", agents(view)),
        ("exports", exports(site, view)),
        ("told", told(site, view)),
    ];
    out.others = others
        .into_iter()
        .map(|(id, html)| (id.to_string(), html))
        .collect();
    out
}

type Seen<'a> = [(TargetRow<'a>, &'a crate::config::FleetTarget)];

/// How bad a target is, for the order: one that flaps counts as slow at least.
fn rank(row: &TargetRow<'_>) -> State {
    match row.flapping {
        true => row.state.min(State::Slow),
        false => row.state,
    }
}

/// Rows by group, the worst first, as many as fit.
fn write_rows(out: &mut Blocks, site: &Site, view: &View, ask: &Ask, targets: &Seen<'_>) {
    let mut groups: BTreeMap<Option<&Name>, Vec<&TargetRow<'_>>> = BTreeMap::new();
    let mut count = 0;
    for (row, target) in targets {
        if ask.takes(view, row, target.group.as_ref(), &target.tags) {
            groups.entry(target.group.as_ref()).or_default().push(row);
            count += 1;
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    for (_, rows) in &mut groups {
        rows.sort_by_key(|row| (rank(row), row.name));
    }
    // Those without a group come last among equals.
    groups.sort_by_key(|(name, rows)| (rank(rows[0]), name.is_none(), *name));
    let with_groups = groups.iter().any(|(name, _)| name.is_some());
    let sums = site.past.sums();
    let (mut page, mut count_here, mut bytes, mut shown, mut first) = (1, 0, 0, 0, 0);
    for (group, rows) in &groups {
        let mut line = with_groups.then(|| group_line(*group, rows));
        for row in rows {
            let trend = sums.trends.get(row.name);
            let html = target_line(view, ask, row, trend);
            let more = html.len() + line.as_ref().map_or(0, |(_, line)| line.len());
            if count_here == ROWS_MAX || bytes + more > ROWS_BYTES_MAX {
                (page, count_here, bytes) = (page + 1, 0, 0);
                line = with_groups.then(|| group_line(*group, rows));
            }
            count_here += 1;
            bytes += more;
            if page == ask.page {
                first += usize::from(shown == 0);
                out.rows.extend(line.take());
                out.rows.push((format!("t-{}", row.name), html));
                shown += 1;
            } else {
                line = None;
                first += usize::from(page < ask.page);
            }
        }
    }
    let is_complete = sums.is_complete;
    drop(sums);
    if !is_complete {
        out.head.push_str(
            "<p class=\"note\">The history is still being read; bars are incomplete.</p>",
        );
    }
    let whole = match (targets.len(), count) {
        (0, _) => "Nothing is monitored yet.".to_string(),
        (_, 0) => "No target is like that.".to_string(),
        _ if shown == count => String::new(),
        _ if shown == 0 => format!("There are {page} pages."),
        _ => format!("{first} to {} of {count}.", first + shown - 1),
    };
    let link = |page: usize, text: &str| {
        let href = html(&ask.query(page));
        format!(" <a href=\"{href}\">{text}</a>")
    };
    let before = (ask.page > 1).then(|| link(ask.page - 1, "previous page"));
    let after = (ask.page < page).then(|| link(ask.page + 1, "next page"));
    let links = before.into_iter().chain(after).collect::<String>();
    out.foot = match whole.is_empty() && links.is_empty() {
        true => String::new(),
        false => format!("<p class=\"more\">{whole}{links}</p>"),
    };
}

fn group_line(group: Option<&Name>, rows: &[&TargetRow<'_>]) -> (String, String) {
    let up = rows
        .iter()
        .filter(|row| matches!(row.state, State::Up | State::Slow))
        .count();
    let (id, name) = match group {
        Some(group) => (format!("g-{group}"), group.as_str()),
        None => ("g".to_string(), "others"),
    };
    let html = format!(
        "<tr id=\"{id}\" class=\"g\"><th colspan=\"8\" scope=\"rowgroup\">{name} <small>{up} of {} answer</small></th></tr>",
        rows.len()
    );
    (id, html)
}

/// A sign for a state, so that its colour need not tell.
pub fn sign(state: State) -> &'static str {
    match state {
        State::Up => "✓",
        State::Slow => "◔",
        State::Down => "✗",
        State::Unreachable => "⊘",
        State::Stale => "…",
        State::Unknown => "?",
    }
}

fn badge(state: State) -> String {
    format!("<span class=\"b {state}\">{} {state}</span>", sign(state))
}

fn target_line(
    view: &View,
    ask: &Ask,
    row: &TargetRow<'_>,
    trend: Option<&crate::manager::trend::Trend>,
) -> String {
    let name = row.name;
    let mut state = badge(row.state);
    if row.flapping {
        state.push_str(" <span class=\"b flapping\">⇅ flapping</span>");
    }
    if let Some(cause) = row.quiet {
        let _ = write!(
            state,
            " <span class=\"b quiet\">{}</span>",
            quiet_word(cause)
        );
    }
    let address = match view.is_public() {
        true => String::new(),
        false => format!("<small>{}</small>", html(&row.address.to_string())),
    };
    let lately = trend.map(|trend| trend.lately(view.now));
    let quantile = |q| lately.as_ref().and_then(|bar| bar.latencies.quantile(q));
    let us = |us: Option<u64>| us.map(latency_text).unwrap_or_default();
    let nothing = Default::default();
    let bars = trend.unwrap_or(&nothing).bars(ask.by, view.now);
    format!(
        "<tr id=\"t-{name}\"><th scope=\"row\"><a class=\"t\" href=\"/target/{name}?by={}\">{name}</a>{address}</th><td>{state}</td><td class=\"why\">{}</td><td class=\"since\">{}</td><td class=\"r l\">{}</td><td class=\"r p50\">{}</td><td class=\"r p95\">{}</td><td class=\"bars\">{}</td></tr>",
        ask.by.as_str(),
        html(&cause(view, row)),
        row.since.map(time).unwrap_or_default(),
        us(row.last_us),
        us(quantile(0.5)),
        us(quantile(0.95)),
        strip(&bars, ask.by),
    )
}

/// Why a target is not up, in words that its viewer may read; not escaped.
pub fn cause(view: &View, row: &TargetRow<'_>) -> String {
    match (view.is_public(), row.why) {
        (true, why) => why.map(|why| why.as_str().to_string()).unwrap_or_default(),
        (false, _) => short(row.text),
    }
}

fn short(text: &str) -> String {
    match crate::text::cut(text, CAUSE_LEN_MAX) {
        cut if cut.len() < text.len() => format!("{cut}…"),
        whole => whole.to_string(),
    }
}

fn quiet_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Maintenance => "⚒ maintenance",
        Cause::Silence => "🔕 silenced",
    }
}

/// A time in UTC; a script turns it into that of the viewer.
pub fn time(at: Wall) -> String {
    let text = timestamp(at);
    format!(
        "<time datetime=\"{}Z\">{} {} UTC</time>",
        &text[..19],
        &text[..10],
        &text[11..16]
    )
}

/// All in one line.
fn verdict_text(targets: &Seen<'_>) -> (State, String) {
    let count =
        |of: &dyn Fn(&TargetRow<'_>) -> bool| targets.iter().filter(|(row, _)| of(row)).count();
    let total = targets.len();
    let down = count(&|row| row.state == State::Down && row.quiet.is_none());
    let mut parts: Vec<String> = Vec::new();
    for state in [
        State::Unreachable,
        State::Slow,
        State::Stale,
        State::Unknown,
    ] {
        let number = count(&|row| row.state == state);
        if number > 0 {
            parts.push(format!("{number} {state}"));
        }
    }
    let quiet = count(&|row| row.state == State::Down && row.quiet.is_some());
    if quiet > 0 {
        parts.push(format!("{quiet} down and left alone"));
    }
    let worst = targets
        .iter()
        .filter(|(row, _)| row.quiet.is_none())
        .map(|(row, _)| row.state)
        .min();
    match (total, down) {
        (0, _) => (State::Unknown, "nothing is monitored".to_string()),
        (_, 0) if parts.is_empty() => (State::Up, format!("all {total} targets up")),
        (_, 0) => (
            worst.unwrap_or(State::Up),
            format!("{} of {total} targets", parts.join(", ")),
        ),
        _ => {
            parts.insert(0, format!("{down} down"));
            (
                State::Down,
                format!("{} of {total} targets", parts.join(", ")),
            )
        }
    }
}

fn verdict(view: &View, state: State, title: &str) -> String {
    let connected = view.board.connected();
    let agents = match view.is_public() {
        true => String::new(),
        false => format!(
            " <small>{connected} of {} agents connected</small>",
            view.board.agents.len()
        ),
    };
    format!(
        "<p id=\"verdict\" class=\"verdict {state}\" role=\"status\" data-title=\"{title}\">{title}{agents}</p>",
    )
}

/// What is not as it should be, and not left alone.
fn open(view: &View, targets: &Seen<'_>) -> String {
    let mut items: Vec<(Option<Wall>, String)> = Vec::new();
    for (row, _) in targets {
        let is_open =
            matches!(row.state, State::Down | State::Unreachable | State::Slow) || row.flapping;
        if is_open && row.quiet.is_none() {
            let cause = match cause(view, row) {
                text if text.is_empty() => String::new(),
                text => format!(": {}", html(&text)),
            };
            let what = match row.flapping {
                true => format!("{} <b>{}</b> flapping{cause}", badge(row.state), row.name),
                false => format!("{} <b>{}</b>{cause}", badge(row.state), row.name),
            };
            items.push((row.since, what));
        }
    }
    if !view.is_public() {
        items.extend(view.board.agents.iter().flat_map(agent_incidents));
    }
    items.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
    let more = items.len().saturating_sub(INCIDENTS_MAX);
    let mut list = String::new();
    for (since, what) in items.into_iter().take(INCIDENTS_MAX) {
        let since = since
            .map(|at| format!(", since {}", time(at)))
            .unwrap_or_default();
        let _ = write!(list, "<li>{what}{since}</li>");
    }
    if more > 0 {
        let _ = write!(list, "<li>and {more} more</li>");
    }
    match list.is_empty() {
        true => "<section id=\"open\" hidden></section>".to_string(),
        false => format!("<section id=\"open\"><h2>Open incidents</h2><ul>{list}</ul></section>"),
    }
}

fn agent_incidents(agent: &AgentRow) -> Vec<(Option<Wall>, String)> {
    let Some(link) = &agent.link else {
        return Vec::new();
    };
    let name = &agent.name;
    let mut items = Vec::new();
    let mut add = |since, what: String, cause: &str| {
        let cause = match cause {
            "" => String::new(),
            cause => format!(": {}", html(&short(cause))),
        };
        items.push((since, format!("<b>agent {name}</b> {what}{cause}")));
    };
    if !link.connected {
        add(Some(link.since), "away".into(), &link.text);
    }
    if let Some(since) = agent.cut_off {
        add(Some(since), "lost its uplink".into(), "");
    }
    if let Some(why) = &link.rejected {
        add(None, "rejected its configuration".into(), why);
    }
    if !link.spool.is_empty() {
        add(None, "cannot store results".into(), &link.spool);
    }
    items
}

/// Who is left alone, now and next.
fn quiet(site: &Site, view: &View, targets: &Seen<'_>) -> String {
    let entries = site
        .core
        .quiet()
        .open_and_planned(&view.fleet.maintenance, view.now);
    let mut list = String::new();
    for entry in entries.iter().take(QUIET_MAX) {
        if view.is_public() && entry.cause == Cause::Silence {
            continue;
        }
        let is_meant = |name: &Name| entry.targets.iter().any(|p| p.matches(name.as_str()));
        let names = targets
            .iter()
            .map(|(row, _)| row.name)
            .filter(|name| is_meant(name));
        let names: Vec<&str> = names.map(Name::as_str).collect();
        if names.is_empty() {
            continue;
        }
        let mut shown = names[..names.len().min(NAMED_MAX)].join(", ");
        if names.len() > NAMED_MAX {
            let _ = write!(shown, " and {} more", names.len() - NAMED_MAX);
        }
        let note = match (view.is_public(), entry.note.as_str()) {
            (true, _) | (_, "") => String::new(),
            (false, note) => format!(": {}", html(&short(note))),
        };
        let _ = write!(
            list,
            "<li><span class=\"b quiet\">{}</span> of {shown}, {} to {}{note}</li>",
            quiet_word(entry.cause),
            time(entry.span.from),
            time(entry.span.until),
        );
    }
    match list.is_empty() {
        true => "<section id=\"quiet\" hidden></section>".to_string(),
        false => format!(
            "<section id=\"quiet\"><h2>Maintenance and silences</h2><ul>{list}</ul></section>"
        ),
    }
}

fn agents(view: &View) -> String {
    if view.is_public() || view.board.agents.is_empty() {
        return "<section id=\"agents\" hidden></section>".to_string();
    }
    let mut agents: Vec<&AgentRow> = view.board.agents.iter().collect();
    agents.sort_by_key(|agent| agent.link.as_ref().is_some_and(|link| link.connected));
    let more = agents.len().saturating_sub(AGENTS_MAX);
    let rows: String = agents
        .iter()
        .take(AGENTS_MAX)
        .map(|agent| agent_line(agent))
        .collect();
    let more = match more {
        0 => String::new(),
        more => format!("<p class=\"more\">and {more} more that are connected</p>"),
    };
    format!(
        "<section id=\"agents\"><h2>Agents</h2><table><thead><tr><th scope=\"col\">Agent</th><th scope=\"col\">Link</th><th scope=\"col\">Since</th><th scope=\"col\" class=\"r\">Backlog</th><th scope=\"col\" class=\"r\">Clock</th><th scope=\"col\">Spool</th></tr></thead><tbody>{rows}</tbody></table>{more}</section>"
    )
}

fn agent_line(agent: &AgentRow) -> String {
    let unknown = Link::default();
    let link = agent.link.as_ref().unwrap_or(&unknown);
    let (state, word) = match (&agent.link, link.connected, agent.cut_off) {
        (None, ..) => (State::Unknown, "? not tried yet".to_string()),
        (_, false, _) => (State::Down, format!("✗ away: {}", short(&link.text))),
        (_, true, Some(_)) => (State::Slow, "⊘ lost its uplink".to_string()),
        (_, true, None) => (State::Up, "✓ connected".to_string()),
    };
    let offset = match link.clock_offset_ms {
        None => String::new(),
        Some(ms) => {
            let sign = if ms < 0 { "−" } else { "+" };
            let off = std::time::Duration::from_millis(ms.unsigned_abs());
            format!("{sign}{}", duration_text(off))
        }
    };
    let spool = match link.spool.as_str() {
        "" => format!("{} records", count_text(link.held)),
        trouble => format!("✗ {}", short(trouble)),
    };
    let since = match link.since {
        Wall(0) => String::new(),
        at => time(at),
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td><span class=\"b {state}\">{}</span></td><td class=\"since\">{since}</td><td class=\"r backlog\">{}</td><td class=\"r clock\">{offset}</td><td class=\"spool\">{}</td></tr>",
        agent.name,
        html(&word),
        count_text(link.to_fetch),
        html(&spool),
    )
}

fn exports(site: &Site, view: &View) -> String {
    let exports = match view.is_public() {
        true => Vec::new(),
        false => site.core.exports(),
    };
    let mut list = String::new();
    for export in &exports {
        let progress = &export.progress;
        let state = match &progress.failing {
            None if progress.delivered_at.is_none() => "has sent nothing yet".to_string(),
            None => "<span class=\"b up\">✓ delivers</span>".to_string(),
            Some((since, why)) => format!(
                "<span class=\"b down\">✗ fails</span> since {}: {}",
                time(*since),
                html(&short(why))
            ),
        };
        let mut lost = String::new();
        for (count, what) in [(progress.missed, "missed"), (progress.refused, "refused")] {
            if count > 0 {
                let _ = write!(lost, ", {} {what}", count_text(count));
            }
        }
        let _ = write!(
            list,
            "<li><b>{}</b> to {} {state}, backlog {}{lost}</li>",
            export.name,
            html(&export.destination),
            count_text(export.backlog),
        );
    }
    match list.is_empty() {
        true => "<section id=\"exports\" hidden></section>".to_string(),
        false => format!("<section id=\"exports\"><h2>Exports</h2><ul>{list}</ul></section>"),
    }
}

/// The latest events, the newest first.
fn told(site: &Site, view: &View) -> String {
    let events = site.core.events_before().iter().chain(&view.board.events);
    let events = events.rev().filter_map(|event| {
        let text = match view.is_public() {
            false => html(&short(&event.text)),
            true => {
                let target = event.target.as_ref().filter(|target| view.shows(target))?;
                let word = match event.kind {
                    EventKind::Late => "was down",
                    kind => kind.as_str(),
                };
                format!("{target} {word}")
            }
        };
        Some((event.at, event.kind, text))
    });
    let mut list = String::new();
    for (at, kind, text) in events.take(EVENTS_MAX) {
        let _ = write!(
            list,
            "<li class=\"e-{}\">{} {text}</li>",
            kind.as_str(),
            time(at)
        );
    }
    if list.is_empty() {
        list.push_str("<li>Nothing has happened yet.</li>");
    }
    format!("<section id=\"told\"><h2>Events</h2><ul class=\"events\">{list}</ul></section>")
}
