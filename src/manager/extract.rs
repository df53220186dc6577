//! `tcpmon-manager export`: any period of the history as lines of JSON or comma-separated
//! values. Needs no agent, no manager and no fleet file, and disturbs none.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use super::clocks::Clocks;
use super::report::{SINCE, SINCE_DEFAULT, UNTIL};
use super::state::AgentState;
use super::watch::push_line;
use super::{DATA, replay};
use crate::cli::{self, Args, Fail, Opt, Program};
use crate::clock;
use crate::error::Result;
use crate::files;
use crate::model::{Epoch, Name, NamesSeen, Sample, Wall};
use crate::quiet::Pattern;
use crate::record::{Body, Record, phase_keys};
use crate::text;
use crate::units::{parse_moment, timestamp};

const FORMAT: Opt = Opt {
    name: "--format",
    value: "csv|jsonl",
    default: "jsonl",
    help: "comma-separated values of results, or every record as a line of JSON",
    repeat: false,
};
const TARGET: Opt = Opt {
    name: "--target",
    value: "PATTERN",
    default: "all",
    help: "only what is of this target, or of those whose names match, such as db*",
    repeat: true,
};
const AGENT: Opt = Opt {
    name: "--agent",
    value: "NAME",
    default: "all",
    help: "only what this agent recorded",
    repeat: true,
};

pub const PROGRAM: Program = Program {
    name: "tcpmon-manager export",
    about: "Prints a period of the history.",
    usage: &[
        "tcpmon-manager export [--format csv|jsonl] [--since WHEN] [--until WHEN] [--data DIR]",
    ],
    opts: &[FORMAT, SINCE, UNTIL, TARGET, AGENT, DATA],
    more: "\
Agent by agent, run by run, in the order in which records were made. A record
lies within the period by the manager's clock, which is the column time of the
CSV; at is the agent's own. Results that an agent replaced by sums are told as
those: at their times, with latencies that have the same sums.
With --target, records that are of no target are left out.",
    free_max: 0,
};

const CSV_TITLES: &str = "time,agent,target,address,ok,us,why,text,dns_us,connect_us,first_byte_us,match_us,close_us,tries,late_us,at,epoch,seq\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Jsonl,
}

/// What is to be printed.
struct Wanted {
    format: Format,
    since: Wall,
    until: Wall,
    /// Empty: all.
    targets: Vec<Pattern>,
    agents: Vec<Name>,
}

impl Wanted {
    fn read(args: &Args) -> std::result::Result<Wanted, Fail> {
        let now = clock::wall();
        let moment = |text: &str| parse_moment(text, now);
        let until = args.parsed(UNTIL.name, moment)?.unwrap_or(now);
        let usual = until.before(SINCE_DEFAULT);
        let since = args.parsed(SINCE.name, moment)?.unwrap_or(usual);
        if since >= until {
            let (since, until) = (timestamp(since), timestamp(until));
            let text = format!("--since {since} is not before --until {until}");
            return Err(Fail::Usage(text));
        }
        let format = |text: &str| match text {
            "csv" => Ok(Format::Csv),
            "jsonl" => Ok(Format::Jsonl),
            _ => Err("expected csv or jsonl".to_string()),
        };
        Ok(Wanted {
            format: args.parsed(FORMAT.name, format)?.unwrap_or(Format::Jsonl),
            since,
            until,
            targets: each(args, TARGET.name)?,
            agents: each(args, AGENT.name)?,
        })
    }

    fn takes_target(&self, target: &Name) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|p| p.matches(target.as_str()))
    }

    fn takes_agent(&self, agent: &Name) -> bool {
        self.agents.is_empty() || self.agents.contains(agent)
    }

    fn is_within(&self, at: Wall) -> bool {
        self.since <= at && at < self.until
    }

    /// Appends what a record comes to; `ours` is the manager's time for the agent's.
    fn write(
        &self,
        out: &mut String,
        place: (&Name, Epoch, &[u8]),
        record: &Record,
        mut ours: impl FnMut(Wall) -> Wall,
    ) {
        let (agent, epoch, line) = place;
        let at = ours(record.at);
        match (self.format, &record.body) {
            (Format::Csv, Body::Result(sample)) => {
                if self.is_within(at) && self.takes_target(&sample.target) {
                    push_sample(out, at, agent, sample, (epoch, record.seq));
                }
            }
            (Format::Csv, Body::Summary { of, .. }) => {
                for sums in of.iter().filter(|sums| self.takes_target(&sums.target)) {
                    let each = sums.each.map(|ip| ip.to_string()).unwrap_or_default();
                    for (made, us) in sums.results() {
                        let at = ours(made);
                        if self.is_within(at) {
                            let (time, target, made) = (timestamp(at), &sums.target, made.0);
                            out.push_str(&format!(
                                "{time},{agent},{target},{each},true,{us},,,,,,,,,,{made},{epoch},\r\n"
                            ));
                        }
                    }
                }
            }
            (Format::Csv, _) => {}
            (Format::Jsonl, body) => {
                let of = target_of(body);
                let taken = match of {
                    Some(target) => self.takes_target(target),
                    None => self.targets.is_empty() || self.sums_of(body),
                };
                if taken && self.is_within(at) {
                    push_line(out, agent, epoch, line);
                }
            }
        }
    }

    /// Whether a summary tells of a target that is wanted.
    fn sums_of(&self, body: &Body) -> bool {
        match body {
            Body::Summary { of, .. } => of.iter().any(|sums| self.takes_target(&sums.target)),
            _ => false,
        }
    }
}

fn target_of(body: &Body) -> Option<&Name> {
    match body {
        Body::Result(sample) => Some(&sample.target),
        Body::Began { target, .. } | Body::Ended { target, .. } | Body::Skip { target, .. } => {
            Some(target)
        }
        _ => None,
    }
}

/// Every value of an option that may be repeated.
fn each<T>(args: &Args, name: &str) -> std::result::Result<Vec<T>, Fail>
where
    T: std::str::FromStr<Err = String>,
{
    let parse = |text: &str| {
        text.parse()
            .map_err(|expected: String| cli::wrong(name, &expected, text))
    };
    args.all(name)
        .map(|text| parse(text).map_err(Fail::Usage))
        .collect()
}

fn push_sample(out: &mut String, at: Wall, agent: &Name, sample: &Sample, of: (Epoch, u64)) {
    let mut cells = vec![
        timestamp(at),
        agent.to_string(),
        sample.target.to_string(),
        sample.each.map(|ip| ip.to_string()).unwrap_or_default(),
        sample.ok().to_string(),
        sample.us.to_string(),
    ];
    let failure = sample.failure.as_ref();
    cells.push(
        failure
            .map(|f| f.why.as_str().to_string())
            .unwrap_or_default(),
    );
    cells.push(failure.map(|f| text::csv(&f.text)).unwrap_or_default());
    let phases = phase_keys(&sample.phases);
    cells.extend(
        phases
            .iter()
            .map(|(_, us)| us.map(|us| us.to_string()).unwrap_or_default()),
    );
    cells.push(sample.tries.to_string());
    cells.push(sample.late_us.to_string());
    cells.push(sample.at.0.to_string());
    cells.push(of.0.to_string());
    cells.push(of.1.to_string());
    out.push_str(&cells.join(","));
    out.push_str("\r\n");
}

/// The command, with its arguments.
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(&PROGRAM, args, command)
}

fn command(args: Args) -> std::result::Result<ExitCode, Fail> {
    let wanted = Wanted::read(&args)?;
    let data = files::data_dir("manager", args.get(DATA.name))?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut print = |text: &str| {
        if out.write_all(text.as_bytes()).is_err() {
            // Nobody reads on, and what is still to come may be much.
            std::process::exit(0);
        }
    };
    if wanted.format == Format::Csv {
        print(CSV_TITLES);
    }
    run(&data, &wanted, &mut print)?;
    // As above.
    let _ = out.flush();
    Ok(ExitCode::SUCCESS)
}

fn run(data: &std::path::Path, wanted: &Wanted, print: &mut dyn FnMut(&str)) -> Result<()> {
    for (agent, id, dir) in replay::histories(data)? {
        if !wanted.takes_agent(&agent) {
            continue;
        }
        let state = AgentState::load(data, &agent)?;
        let mut clocks = Clocks::read(&dir, wanted.since, &state, id)?;
        let mut names = NamesSeen::default();
        let mut text = String::new();
        replay::lines(&dir, wanted.since, |epoch, line| {
            let Ok(record) = Record::parse_checked(line, &mut names) else {
                return;
            };
            let seq = record.seq;
            text.clear();
            wanted.write(&mut text, (&agent, epoch, line), &record, |at| {
                clocks.ours(epoch, seq, at)
            });
            print(&text);
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &str) -> (Record, String) {
        let mut line = fields.to_string();
        crate::record::seal(&mut line, 0);
        let line = line.trim_end().to_string();
        (Record::parse(line.as_bytes()).unwrap(), line)
    }

    fn printed(format: Format, targets: &[&str], fields: &str) -> String {
        let wanted = Wanted {
            format,
            since: Wall(1_000),
            until: Wall(2_000),
            targets: targets.iter().map(|p| p.parse().unwrap()).collect(),
            agents: Vec::new(),
        };
        let (record, line) = record(fields);
        let mut out = String::new();
        let agent = "attic".parse().unwrap();
        let place = (&agent, Epoch(0xe), line.as_bytes());
        wanted.write(&mut out, place, &record, |at| Wall(at.0 + 500));
        out
    }

    #[test]
    fn a_record_is_printed_where_it_lies_within_and_is_wanted() {
        use Format::{Csv, Jsonl};
        let result = r#"{"seq":8,"at":1000,"target":"web","each":"192.0.2.7","ok":false,"us":3,"connect_us":2,"why":"timeout","text":"x \"y\", z","tries":2}"#;
        let csv = "1970-01-01T00:00:01.500Z,attic,web,192.0.2.7,false,3,timeout,\"x \"\"y\"\", z\",,2,,,,2,0,1000,000000000000000e,8\r\n";
        assert_eq!(printed(Csv, &[], result), csv);
        assert_eq!(printed(Csv, &["w*"], result), csv);
        assert_eq!(printed(Csv, &["db"], result), "");
        assert_eq!(CSV_TITLES.split(',').count(), 18);
        let line = printed(Jsonl, &["web"], result);
        assert!(
            line.starts_with(r#"{"agent":"attic","epoch":"000000000000000e","seq":8,"at":1000,"#),
            "{line}"
        );
        assert!(line.ends_with("\"tries\":2}\n"), "{line}");
        for (at, expected) in [(499, false), (500, true), (1_499, true), (1_500, false)] {
            let ended = format!(r#"{{"seq":9,"at":{at},"event":"ended","target":"web"}}"#);
            assert_eq!(!printed(Jsonl, &[], &ended).is_empty(), expected, "{at}");
            assert_eq!(printed(Csv, &[], &ended), "");
        }
        let gap = r#"{"seq":9,"first":3,"at":1000,"event":"gap","why":"disk"}"#;
        assert_ne!(printed(Jsonl, &[], gap), "");
        assert_eq!(printed(Jsonl, &["web"], gap), "");
    }
}
