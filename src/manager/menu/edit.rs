//! View and modify: the tables, and the dialogues that change one thing each.
//!
//! The questions are asked first; then the change is made to the fleet as it is by then,
//! which a file edited meanwhile may have replaced, and taken over as a whole.

use std::collections::HashSet;
use std::time::Duration;

use super::ask::{Answer, BACK, Choice, Reply, Stop, Talk};
use super::{Running, entry, links, path, replacing, save, silence, summary, tables, take};
use crate::clock;
use crate::config::{Fleet, FleetAgent, FleetTarget};
use crate::manager::board::AgentRow;
use crate::model::Name;

/// How long agents get to answer a change before the menu goes on.
const SETTLE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum Do {
    AddTarget,
    ChangeTarget,
    RemoveTarget,
    AddAgent,
    ChangeAgent,
    RemoveAgent,
    Defaults,
    Save,
    Reload,
    Silence,
    TestAlert,
    Back,
    Show,
}

const EDIT: [Choice<Do>; 12] = [
    ("1", "add target", Do::AddTarget),
    ("2", "change target", Do::ChangeTarget),
    ("3", "remove target", Do::RemoveTarget),
    ("4", "add agent", Do::AddAgent),
    ("5", "change agent", Do::ChangeAgent),
    ("6", "remove agent", Do::RemoveAgent),
    ("7", "defaults", Do::Defaults),
    ("8", "save", Do::Save),
    ("9", "reload from disk", Do::Reload),
    ("s", "silence targets", Do::Silence),
    ("t", "test an alert", Do::TestAlert),
    ("0", "back", Do::Back),
];

/// What becomes of the targets that only the removed agent probed.
#[derive(Debug, Clone, Copy)]
enum Orphans {
    Remove,
    All,
}

const ORPHANS: [Choice<Option<Orphans>>; 3] = [
    ("1", "remove them, too", Some(Orphans::Remove)),
    ("2", "have all other agents probe them", Some(Orphans::All)),
    ("0", "keep the agent", None),
];

/// Until the person goes back.
pub(super) fn menu(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    show(manager, talk)?;
    loop {
        talk.show("\n")?;
        let choice = talk.choose(&EDIT, 3, Do::Show)?;
        let done = match choice {
            Do::AddTarget => add_target(manager, talk),
            Do::ChangeTarget => change_target(manager, talk),
            Do::RemoveTarget => remove_target(manager, talk),
            Do::AddAgent => add_agent(manager, talk),
            Do::ChangeAgent => change_agent(manager, talk),
            Do::RemoveAgent => remove_agent(manager, talk),
            Do::Defaults => defaults(manager, talk),
            Do::Save => save(manager, talk),
            Do::Reload => reload(manager, talk),
            Do::Silence => silence::menu(manager, talk),
            Do::TestAlert => test_alert(manager, talk),
            Do::Show => show(manager, talk),
            Do::Back => return Ok(()),
        };
        match done {
            Err(Stop::Back) => talk.say("Nothing was changed.")?,
            done => done?,
        }
    }
}

fn show(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let (fleet, now) = (manager.fleet(), links(manager));
    talk.show("\n")?;
    talk.say(&summary(manager))?;
    talk.show("\n")?;
    talk.show(&tables::agents(&fleet, &now.agents))?;
    talk.show("\n")?;
    talk.show(&tables::targets(&fleet))?;
    talk.say(&format!(
        "Enter shows this again. In questions, Enter takes the [answer], {BACK} gives up."
    ))
}

/// Sends a receiver of alerts a test, and says how that went.
fn test_alert(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let fleet = manager.fleet();
    let names = || fleet.alerts.iter().map(|rule| rule.name.as_str());
    let Some(first) = names().next() else {
        return talk.say("The configuration has no alerts; they are written in its file.");
    };
    let usual = Some((first.to_string(), first.to_string()));
    let name = talk.ask("Name of the alert", usual, |text| {
        let found = names().find(|name| *name == text);
        let known = || names().collect::<Vec<_>>().join(", ");
        found
            .map(str::to_string)
            .ok_or_else(|| format!("no such alert; there are {}", known()))
    })?;
    match manager.test_alert(&name) {
        Ok(text) => talk.say(&text),
        Err(error) => talk.list(&[error.to_string()]),
    }
}

/// Makes a change to the fleet as it is now and says whom it has reached.
fn apply(
    manager: &dyn Running,
    talk: &mut Talk<'_>,
    change: impl FnOnce(&mut Fleet),
) -> Answer<()> {
    let before = manager.fleet();
    let mut fleet = Fleet::clone(&before);
    change(&mut fleet);
    if fleet == *before {
        return Err(Stop::Back);
    }
    if let Err(problems) = manager.change(fleet) {
        talk.list(&problems)?;
        return Err(Stop::Back);
    }
    told(manager, talk)
}

/// Says whom the newest configuration has reached.
pub(super) fn told(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let lines = tables::reach(&settled(manager));
    lines.iter().try_for_each(|line| talk.say(line))
}

/// The links, once each has either answered or shown that it is away, or after a while.
fn settled(manager: &dyn Running) -> Vec<AgentRow> {
    let deadline = clock::mono().after(SETTLE);
    loop {
        let heard = manager.bell().heard();
        let agents = links(manager).agents;
        if !agents.iter().any(busy) || clock::mono() >= deadline {
            return agents;
        }
        manager.bell().wait(heard, deadline);
    }
}

/// Whether there will be an answer, or a failure to connect, in a moment.
fn busy(row: &AgentRow) -> bool {
    match &row.link {
        None => true,
        Some(link) if link.connected => link.pending && link.rejected.is_none(),
        Some(link) => link.text.is_empty(),
    }
}

fn add_target(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    match entry::target(talk, &manager.fleet(), None)? {
        Some(new) => apply(manager, talk, |fleet| fleet.targets.push(new)),
        None => Err(Stop::Back),
    }
}

/// Whatever names the target follows it to its new name; patterns do not.
fn change_target(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let fleet = manager.fleet();
    let old = pick(talk, "target", &fleet.targets, |t| &t.name)?;
    match entry::target(talk, &fleet, Some(&old))? {
        Some(new) => apply(manager, talk, |fleet| {
            rename(targets_named(fleet), &old.name, &new.name);
            put(&mut fleet.targets, new, |t| t.name == old.name);
        }),
        None => Err(Stop::Back),
    }
}

fn remove_target(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let fleet = manager.fleet();
    let old = pick(talk, "target", &fleet.targets, |t| &t.name)?;
    say_who_names(talk, &fleet, |t| t.name == old.name)?;
    sure(talk, &old.name)?;
    apply(manager, talk, |fleet| {
        without_targets(fleet, |t| t.name == old.name);
    })
}

fn add_agent(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    match entry::agent(talk, &manager.fleet(), None, manager.key_rule())? {
        Some(new) => apply(manager, talk, |fleet| fleet.agents.push(new)),
        None => Err(Stop::Back),
    }
}

/// Targets that name the agent follow it to its new name.
fn change_agent(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let fleet = manager.fleet();
    let old = pick(talk, "agent", &fleet.agents, |a| &a.name)?;
    match entry::agent(talk, &fleet, Some(&old), manager.key_rule())? {
        Some(new) => apply(manager, talk, |fleet| {
            let lists = fleet.targets.iter_mut().filter_map(|t| t.agents.as_mut());
            rename(lists.flatten(), &old.name, &new.name);
            put(&mut fleet.agents, new, |a| a.name == old.name);
        }),
        None => Err(Stop::Back),
    }
}

/// Says which targets name the agent before it goes.
fn remove_agent(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let fleet = manager.fleet();
    let name = pick(talk, "agent", &fleet.agents, |a| &a.name)?.name;
    let (alone, shared): (Vec<&FleetTarget>, Vec<&FleetTarget>) =
        named(&fleet, &name).partition(|t| t.agents.as_ref().is_some_and(|list| list.len() == 1));
    if !shared.is_empty() {
        talk.say(&format!(
            "{name} is named, among others, by {}.",
            names(&shared)
        ))?;
    }
    let orphans = if alone.is_empty() {
        sure(talk, &name)?;
        None
    } else {
        talk.say(&format!("{name} alone probes {}:", names(&alone)))?;
        let orphans = talk.choose(&ORPHANS, 1, None)?.ok_or(Stop::Back)?;
        if matches!(orphans, Orphans::Remove) {
            say_who_names(talk, &fleet, |t| alone.iter().any(|a| a.name == t.name))?;
        }
        Some(orphans)
    };
    apply(manager, talk, |fleet| without_agent(fleet, &name, orphans))
}

fn named<'a>(fleet: &'a Fleet, agent: &Name) -> impl Iterator<Item = &'a FleetTarget> {
    let agent = agent.clone();
    let names = move |t: &&FleetTarget| t.agents.as_ref().is_some_and(|l| l.contains(&agent));
    fleet.targets.iter().filter(names)
}

fn names(targets: &[&FleetTarget]) -> String {
    let names: Vec<Name> = targets.iter().map(|t| t.name.clone()).collect();
    tables::list(&names)
}

/// Every place that names a target.
fn targets_named(fleet: &mut Fleet) -> impl Iterator<Item = &mut Name> {
    let parents = fleet.targets.iter_mut().flat_map(|t| &mut t.depends_on);
    parents.chain(fleet.agents.iter_mut().flat_map(|a| &mut a.anchors))
}

fn rename<'a>(named: impl Iterator<Item = &'a mut Name>, old: &Name, new: &Name) {
    for name in named.filter(|name| *name == old) {
        name.clone_from(new);
    }
}

/// Says what else names targets that are to go: it will do so no more.
fn say_who_names(
    talk: &mut Talk<'_>,
    fleet: &Fleet,
    go: impl Fn(&FleetTarget) -> bool,
) -> Answer<()> {
    let (gone, kept): (Vec<&FleetTarget>, Vec<&FleetTarget>) =
        fleet.targets.iter().partition(|t| go(t));
    let named = |list: &[Name]| gone.iter().any(|t| list.contains(&t.name));
    let children = kept.into_iter().filter(|t| named(&t.depends_on));
    let children: Vec<Name> = children.map(|t| t.name.clone()).collect();
    let agents = fleet.agents.iter().filter(|a| named(&a.anchors));
    let agents: Vec<Name> = agents.map(|a| a.name.clone()).collect();
    let places = [("depends_on", children), ("anchors", agents)];
    let places = places.iter().filter(|(_, names)| !names.is_empty());
    let places = places.map(|(key, names)| format!("in {key} of {}", tables::list(names)));
    let places: Vec<String> = places.collect();
    match places.is_empty() {
        true => Ok(()),
        false => talk.say(&format!(
            "Named {}; taken out there, too.",
            places.join(" and ")
        )),
    }
}

/// Takes targets out, also from where others name them.
fn without_targets(fleet: &mut Fleet, go: impl Fn(&FleetTarget) -> bool) {
    let gone = fleet.targets.iter().filter(|t| go(t));
    let gone: HashSet<Name> = gone.map(|t| t.name.clone()).collect();
    fleet.targets.retain(|t| !gone.contains(&t.name));
    let parents = fleet.targets.iter_mut().map(|t| &mut t.depends_on);
    let anchors = fleet.agents.iter_mut().map(|a| &mut a.anchors);
    for list in parents.chain(anchors) {
        list.retain(|name| !gone.contains(name));
    }
}

fn without_agent(fleet: &mut Fleet, name: &Name, orphans: Option<Orphans>) {
    fleet.agents.retain(|a: &FleetAgent| a.name != *name);
    for target in &mut fleet.targets {
        if let Some(list) = &mut target.agents {
            list.retain(|n| n != name);
        }
    }
    let orphan = |t: &FleetTarget| t.agents.as_ref().is_some_and(Vec::is_empty);
    match orphans {
        Some(Orphans::Remove) => without_targets(fleet, orphan),
        Some(Orphans::All) => {
            let orphans = fleet.targets.iter_mut().filter(|t| orphan(t));
            orphans.for_each(|t| t.agents = None);
        }
        None => {}
    }
}

fn defaults(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    let new = entry::defaults(talk, &manager.fleet().defaults)?;
    apply(manager, talk, |fleet| fleet.defaults = new)
}

fn reload(manager: &dyn Running, talk: &mut Talk<'_>) -> Answer<()> {
    replacing(manager, talk)?;
    take(manager, talk, &path(manager)).map(|_| ())
}

/// Asks for one of these by name.
fn pick<T: Clone>(
    talk: &mut Talk<'_>,
    what: &str,
    items: &[T],
    name: fn(&T) -> &Name,
) -> Answer<T> {
    let prompt = format!("Name of the {what}");
    let none = Some((String::new(), None));
    let picked = talk.ask(&prompt, none, |text| {
        let found = items.iter().find(|item| name(item).as_str() == text);
        let unknown = || format!("no {what} is named \"{text}\"");
        found.map(|item| Some(item.clone())).ok_or_else(unknown)
    })?;
    picked.ok_or(Stop::Back)
}

fn sure(talk: &mut Talk<'_>, name: &Name) -> Answer<()> {
    match talk.confirm(&format!("Remove {name}?"), Reply::No)? {
        Reply::Yes => Ok(()),
        Reply::No => Err(Stop::Back),
    }
}

/// Puts an item in the place of the one that is `old`, if that is still there.
fn put<T>(items: &mut [T], new: T, old: impl Fn(&T) -> bool) {
    if let Some(item) = items.iter_mut().find(|item| old(item)) {
        *item = new;
    }
}
