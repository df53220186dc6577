//! `tcpmon-manager validate`: whether a fleet file is right, and if not, everything that
//! is wrong with it, each problem with its place.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::audit::JSON;
use super::fleet_file::check;
use super::{CONFIG, INSECURE, key_rule, need_fleet_path};
use crate::cli::{self, Args, Fail, Opt, Program};
use crate::config::{Fleet, Problem, agent_config_json};
use crate::json;
use crate::text;
use crate::units::count_text;

const EXPAND: Opt = Opt {
    name: "--expand",
    value: "",
    default: "",
    help: "when the file is right, print what each agent is told, presets and defaults worked out",
    repeat: false,
};

pub const PROGRAM: Program = Program {
    name: "tcpmon-manager validate",
    about: "Checks a fleet file and lists every problem with its line and column.",
    usage: &["tcpmon-manager validate [FILE] [--json | --expand] [--insecure]"],
    opts: &[CONFIG, JSON, EXPAND, INSECURE],
    more: "Problems go to stderr, each as FILE:LINE:COLUMN: PLACE: what is wrong; exit code 1.",
    free_max: 1,
};

/// What checking a file came to.
type Verdict = Result<Fleet, Vec<Problem>>;

fn json(verdict: &Verdict) -> String {
    let mut out = String::new();
    json::object(&mut out, |o| {
        o.bool("ok", verdict.is_ok());
        match verdict {
            Ok(fleet) => o
                .u64("agents", fleet.agents.len() as u64)
                .u64("targets", fleet.targets.len() as u64),
            Err(_) => o.null("agents").null("targets"),
        };
        o.array("problems", |a| {
            for problem in verdict.as_ref().err().into_iter().flatten() {
                a.object(|o| {
                    o.u64("line", problem.line as u64)
                        .u64("column", problem.column as u64)
                        .str("path", &problem.path)
                        .str("text", &problem.text);
                });
            }
        });
    });
    out + "\n"
}

/// The verdict for people: one line, or one for each problem.
fn text(path: &Path, verdict: &Verdict) -> String {
    let shown = path.display().to_string();
    let shown = text::escape(&shown);
    match verdict {
        Ok(fleet) => {
            let agents = counted(fleet.agents.len(), "agent");
            let targets = counted(fleet.targets.len(), "target");
            format!("{shown}: ok: {agents}, {targets}\n")
        }
        Err(problems) => problems
            .iter()
            .map(|problem| match problem.line {
                0 => format!("{shown}: {problem}\n"),
                _ => format!("{shown}:{problem}\n"),
            })
            .collect(),
    }
}

/// What each agent is told: a line for the agent, then one for each of its targets.
fn expanded(fleet: &Fleet) -> String {
    let mut out = String::new();
    for agent in &fleet.agents {
        out.push_str(&format!("agent {}\n", agent.name));
        for target in fleet.targets_for(&agent.name) {
            let config = agent_config_json(&[target]);
            let entry = config.strip_prefix("{\"targets\":[");
            let entry = entry.and_then(|text| text.strip_suffix("]}"));
            out.push_str(&format!("  {}\n", entry.unwrap_or(&config)));
        }
    }
    out
}

fn counted(n: usize, word: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {word}{plural}", count_text(n as u64))
}

/// The command, with its arguments.
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&PROGRAM, args, command)
}

fn command(args: Args) -> Result<ExitCode, Fail> {
    let path = match args.free().first() {
        Some(_) if args.flag("--config") => {
            return Err(Fail::Usage("FILE and --config name the same thing".into()));
        }
        Some(file) => PathBuf::from(file),
        None => need_fleet_path(&args)?,
    };
    let rule = key_rule(&args);
    let verdict = check(&path, rule);
    if args.flag("--json") && args.flag("--expand") {
        return Err(Fail::Usage(
            "--json and --expand: give one of the two".into(),
        ));
    }
    if let (Ok(fleet), true) = (&verdict, args.flag("--expand")) {
        cli::print(&expanded(fleet));
    } else if args.flag("--json") {
        cli::print(&json(&verdict));
    } else if verdict.is_ok() {
        cli::print(&text(&path, &verdict));
    } else {
        // Nobody is left to tell when stderr is closed.
        let _ = std::io::stderr().write_all(text(&path, &verdict).as_bytes());
    }
    Ok(ExitCode::from(u8::from(verdict.is_err())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeyRule;

    fn checked(content: Option<&str>, rule: KeyRule) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleet.json");
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let verdict = check(&path, rule);
        let place = format!("{}/", dir.path().display());
        let plain = |text: String| text.replace(&place, "");
        (plain(text(&path, &verdict)), plain(json(&verdict)))
    }

    #[test]
    fn what_is_right_is_counted() {
        let fleet = r#"{"agents":[{"name":"a","address":"localhost:1"}],"targets":[]}"#;
        let (text, json) = checked(Some(fleet), KeyRule::Required);
        assert_eq!(text, "fleet.json: ok: 1 agent, 0 targets\n");
        assert_eq!(
            json,
            "{\"ok\":true,\"agents\":1,\"targets\":0,\"problems\":[]}\n"
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let fleet = "{\"defaults\":{\"interval\":10},\n \"targets\":7}";
        let (text, json) = checked(Some(fleet), KeyRule::Required);
        let expected = "\
fleet.json:1:25: defaults.interval: expected a duration such as \"10s\", found 10
fleet.json:2:12: targets: expected a list, found 7
";
        assert_eq!(text, expected);
        let start = r#"{"ok":false,"agents":null,"targets":null,"problems":[{"line":1,"column":25,"path":"defaults.interval","text":"expected"#;
        assert!(json.starts_with(start), "{json}");
    }

    #[test]
    fn an_agent_beyond_loopback_without_a_key_is_refused_unless_that_is_asked_for() {
        let fleet = r#"{"agents":[{"name":"a","address":"10.0.0.7:1"}]}"#;
        let (text, _) = checked(Some(fleet), KeyRule::Required);
        let expected = "fleet.json:1:34: agents[0].address: 10.0.0.7 is not a loopback address, \
            so the link needs a key: add \"key_file\" here or in \"defaults\"; \
            tcpmon-manager keygen makes a key\n";
        assert_eq!(text, expected);
        let (text, _) = checked(Some(fleet), KeyRule::Waived);
        assert_eq!(text, "fleet.json: ok: 1 agent, 0 targets\n");
    }

    #[test]
    fn what_each_agent_is_told_can_be_seen() {
        let fleet = r#"{"agents":[{"name":"a","address":"localhost:1"},{"name":"b","dials_in":true}],
            "targets":[{"name":"t","address":"h:22","script":"ssh"},
                       {"name":"u","address":"h:1","interval":"1s","agents":["b"]}]}"#;
        let fleet = crate::config::parse_fleet(fleet.as_bytes(), KeyRule::Required).unwrap();
        let t = r#"  {"name":"t","address":"h:22","interval_ms":10000,"timeout_ms":3000,"retries":1,"script":[{"expect_start":["SSH-2.0-","SSH-1.99-"]}],"recheck_ms":2500,"rechecks":2}"#;
        let u =
            r#"  {"name":"u","address":"h:1","interval_ms":1000,"timeout_ms":1000,"retries":1}"#;
        let expected = format!("agent a\n{t}\nagent b\n{t}\n{u}\n");
        assert_eq!(expanded(&fleet), expected);
    }

    #[test]
    fn a_file_that_is_not_there_is_a_problem_too() {
        let (text, _) = checked(None, KeyRule::Required);
        assert_eq!(text, "fleet.json: no such file or directory\n");
    }
}
