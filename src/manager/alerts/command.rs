//! `tcpmon-manager alert test NAME`: sends a receiver of the fleet file a message that
//! says that it is a test, now and from here, and tells how that went. Needs no running
//! manager and leaves one alone.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::deliver::deliver;
use crate::alert::{AlertEvent, AlertRule, Message, Occasion, On, Subject};
use crate::cli::{self, Args, Fail, Program};
use crate::clock;
use crate::config::Fleet;
use crate::error::{Error, Result};
use crate::files;
use crate::manager::{CONFIG, fleet_file, need_fleet_path};
use crate::model::Name;
use crate::net::resolve::Resolver;
use crate::text::nearest;
use crate::units::latency_text;

pub const PROGRAM: Program = Program {
    name: "tcpmon-manager alert",
    about: "Sends a test message to a receiver of alerts, and tells how that went.",
    usage: &["tcpmon-manager alert test NAME [--config FILE]"],
    opts: &[CONFIG],
    more: "",
    free_max: 2,
};

/// The command, with its arguments.
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&PROGRAM, args, command)
}

fn command(args: Args) -> std::result::Result<ExitCode, Fail> {
    let [verb, name] = args.free() else {
        return Err(Fail::Usage(
            "expected \"test\" and the name of a receiver".into(),
        ));
    };
    if verb != "test" {
        return Err(Fail::Usage(format!(
            "unknown request {verb}: there is \"test\""
        )));
    }
    let path = need_fleet_path(&args)?;
    let fleet = fleet_file::read(&path).map_err(|problems| Error::new(problems.join("\n")))?;
    let base = fleet_file::base_of(Some(&path));
    cli::print(&format!("{}\n", test(&fleet, name, base)?));
    Ok(ExitCode::SUCCESS)
}

/// Delivers a test message, once; programs run in `base`. What to tell of it.
pub fn test(fleet: &Fleet, name: &str, base: &Path) -> Result<String> {
    let found = fleet.alerts.iter().find(|rule| rule.name.as_str() == name);
    let rule = found.ok_or_else(|| Error::new(unknown(fleet, name)))?;
    let began = clock::mono();
    let manager = files::host_name("manager");
    deliver(&Resolver::default(), rule, &message(rule, manager), base)?;
    let took = latency_text(crate::model::micros(clock::mono().since(began)));
    Ok(format!("alert {name}: delivered in {took}"))
}

fn unknown(fleet: &Fleet, name: &str) -> String {
    let names = fleet.alerts.iter().map(|rule| rule.name.as_str());
    if fleet.alerts.is_empty() {
        return "the fleet file has no \"alerts\"".to_string();
    }
    let hint = match nearest(name, names.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
    };
    format!("no alert is named {name}: {hint}")
}

fn message(rule: &AlertRule, manager: Name) -> Message {
    let at = clock::wall();
    let text = format!(
        "alerts of {manager} to {} arrive; nothing is the matter",
        rule.name
    );
    Message {
        id: format!("{:016x}", clock::random()),
        at,
        alert: rule.name.clone(),
        manager,
        occasion: Occasion::Test,
        events: vec![AlertEvent {
            on: On::Up,
            subject: Subject::Target("test".parse().expect("a name")),
            address: None,
            state: "up".to_string(),
            was: "down".to_string(),
            since: at,
            lasted: Some(Duration::ZERO),
            why: None,
            text,
            voices: Vec::new(),
        }],
    }
}
