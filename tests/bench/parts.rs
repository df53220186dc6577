//! The parts that every record passes through: writing it, appending it, reading it back,
//! and the schedule. Their time, their instructions and their allocations; the latter two
//! by running this program under valgrind, for so many records and for twice as many, so
//! that what is there once does not count.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tcpmon::clock;
use tcpmon::journal::{Appender, Base, Depth, Index, SyncMode, Totals, Unsynced};
use tcpmon::json::Reader;
use tcpmon::model::{Epoch, Id, Mono, NamesSeen, Target, Terms, Wall};
use tcpmon::record::{self, Record, SkipWhy, Span};
use tcpmon::schedule::Schedule;

use crate::fake;
use crate::support::{AGENT, Dir, Running, arg, name};
use crate::table::Table;

/// The argument that makes a bench program do one part and end; see [`count`].
pub const DO_A_PART: &str = "--do-a-part";
/// Records that times are taken over, and rounds of which the best counts.
const RECORDS: u64 = 200_000;
const ROUNDS: usize = 5;
/// Records, or twice as many, under valgrind.
const COUNTED: u64 = 2_000;
const MIB: f64 = 1024.0 * 1024.0;

/// Lines of records such as agents write.
fn lines(count: u64) -> String {
    let mut text = String::new();
    let names: Vec<_> = (0..1_000)
        .map(|n| name(&format!("web-{n}.example")))
        .collect();
    for seq in 1..=count {
        fake::write(&mut text, &names[seq as usize % names.len()], seq);
    }
    text
}

/// Lines of answers alone: of a failure the text is kept, which takes memory.
fn answers(count: u64) -> String {
    let mut out = String::new();
    write(&mut out, count);
    out
}

/// The best of some rounds of `what`, in seconds.
fn best(mut what: impl FnMut()) -> f64 {
    let round = |_| {
        let began = clock::mono();
        what();
        clock::mono().since(began).as_secs_f64()
    };
    (0..ROUNDS).map(round).fold(f64::MAX, f64::min)
}

/// Times, then counts.
pub fn parts(dir: &Dir, table: &mut Table) {
    json(table);
    journal(dir, table);
    start(dir, table);
    counts(dir, table);
}

fn json(table: &mut Table) {
    let text = lines(RECORDS);
    let mb = text.len() as f64 / 1e6;
    let parse_s = best(|| parse(&text));
    table.at_least("JSON: result records parsed", "MB/s", 200.0, mb / parse_s);
    let walk_s = best(|| {
        for line in text.lines() {
            let mut reader = Reader::new(line.as_bytes());
            reader.object(|reader, _| reader.skip()).expect("an object");
        }
    });
    table.told("JSON: read alone", "MB/s", mb / walk_s);
    let mut out = String::with_capacity(text.len());
    let write_s = best(|| {
        out.clear();
        write(&mut out, RECORDS);
    });
    table.at_least("JSON: result records written", "MB/s", 400.0, mb / write_s);
}

fn parse(text: &str) {
    let mut seen = NamesSeen::default();
    for line in text.lines() {
        record::span(line.as_bytes()).expect("a good check");
        let record = Record::parse_checked(line.as_bytes(), &mut seen);
        std::hint::black_box(record.expect("a record"));
    }
}

fn write(out: &mut String, count: u64) {
    let (body, at) = (
        fake::answer(&name("web-7.example")),
        Wall(1_763_820_000_000),
    );
    for seq in 1..=count {
        record::write_line(out, Span { first: seq, seq }, at, &body);
    }
}

fn appender(dir: &Path, mode: SyncMode) -> Appender {
    let base = Base {
        agent: Id(1),
        epoch: Epoch(2),
        order: 1,
        last: 0,
        totals: Totals::default(),
    };
    Appender::new(dir, base, 4 << 20, mode, Unsynced::Kept)
}

/// Writes records and appends them in groups, as the agent's spool does.
fn append(dir: &Path, count: u64, mode: SyncMode) {
    std::fs::create_dir_all(dir).expect("make a directory");
    let mut appender = appender(dir, mode);
    let target = name("web-7.example");
    let (mut out, mut totals) = (String::new(), Totals::default());
    for seq in 1..=count {
        fake::write(&mut out, &target, seq);
        totals.add(Span { first: seq, seq }, None);
        if seq % 1_000 == 0 || seq == count {
            appender.take(&mut out, seq, totals);
            appender.write().expect("write");
        }
    }
    appender.sync().expect("sync");
}

fn journal(dir: &Dir, table: &mut Table) {
    let path = dir.join("spool");
    let records = (64.0 * MIB) as u64 / (lines(1_000).len() as u64 / 1_000);
    let append_s = best(|| {
        let _ = std::fs::remove_dir_all(&path);
        append(&path, records, SyncMode::Interval);
    });
    table.at_least(
        "journal: records appended, made durable",
        "/s",
        1e6,
        records as f64 / append_s,
    );
    let bytes = Index::open(&path, Depth::Everything)
        .expect("a journal")
        .0
        .bytes();
    let scan_s = best(|| drop(Index::open(&path, Depth::Everything).expect("a journal")));
    table.at_least(
        "journal: recovery scan",
        "MB/s",
        500.0,
        bytes as f64 / 1e6 / scan_s,
    );
}

/// A real agent on a full spool.
fn start(dir: &Dir, table: &mut Table) {
    let data = dir.join("full");
    let records = (63.0 * MIB) as u64 / (lines(1_000).len() as u64 / 1_000);
    append(&data.join("spool"), records, SyncMode::Never);
    let args = ["--listen", "127.0.0.1:0", "--data", arg(&data)];
    let start_s = best(|| {
        let mut agent = Running::start(AGENT, &args, &dir.join("agent"));
        agent.listening(1);
    });
    table.at_most(
        "journal: an agent's start with 63 MiB in its spool",
        "s",
        0.3,
        start_s,
    );
}

/// Does one part so many times, where the arguments say so: to be called first.
pub fn do_what_is_asked() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [DO_A_PART, part, count, place] = args.iter().map(String::as_str).collect::<Vec<_>>()[..]
    else {
        return;
    };
    let count = count.parse().expect("a number");
    match part {
        "parse" => parse(&answers(count)),
        "lines" => drop(answers(count)),
        "write" => write(&mut String::with_capacity(1 << 20), count),
        "append" => append(Path::new(place), count, SyncMode::Never),
        "schedule" => schedule(count),
        _ => panic!("no such part: {part}"),
    }
    std::process::exit(0);
}

/// Hands out jobs of ten thousand targets and takes them back.
fn schedule(count: u64) {
    let terms = Terms::every(Duration::from_secs(10), Duration::from_secs(3));
    let address = || "192.0.2.7:443".parse().expect("an address");
    let target = |n| Target::new(name(&format!("target-{n}")), address(), terms.clone());
    let mut schedule = Schedule::new(1_000);
    schedule.replace((0..10_000).map(target).collect(), Mono(0));
    for _ in 0..count {
        let due = schedule.next_at().expect("a job");
        let job = schedule.take(due, SkipWhy::Workers).expect("a job");
        schedule.finish(job, true, due.after(Duration::from_millis(1)));
    }
}

/// Instructions and allocations of each part, a record.
fn counts(dir: &Dir, table: &mut Table) {
    let place = dir.join("counted");
    let each = |tool: Tool, part: &str| {
        let of = |count| count_of(tool, part, count, &place);
        Some((of(2 * COUNTED)? - of(COUNTED)?) / COUNTED as f64)
    };
    // Parsing needs lines, whose making is counted by itself.
    let parse = |tool| Some(each(tool, "parse")? - each(tool, "lines")?);
    let figures = [
        (
            "an answer parsed",
            parse(Tool::Instructions),
            parse(Tool::Allocations),
        ),
        (
            "an answer written",
            each(Tool::Instructions, "write"),
            each(Tool::Allocations, "write"),
        ),
        (
            "an answer written and appended",
            each(Tool::Instructions, "append"),
            None,
        ),
        (
            "a job of the schedule, handed out and back",
            each(Tool::Instructions, "schedule"),
            None,
        ),
    ];
    for (what, instructions, allocations) in figures {
        match instructions {
            Some(count) => table.told(&format!("{what}: instructions"), "", count.round()),
            None => table.left_out(&format!("{what}: instructions"), "valgrind is not there"),
        }
        if let Some(count) = allocations {
            table.at_most(
                &format!("{what}: allocations"),
                "",
                0.0,
                (count * 100.0).round() / 100.0,
            );
        }
    }
}

#[derive(Clone, Copy)]
enum Tool {
    Instructions,
    Allocations,
}

/// What a tool of valgrind counts while this program does a part.
fn count_of(tool: Tool, part: &str, count: u64, place: &Path) -> Option<f64> {
    let own = std::env::current_exe().ok()?;
    let _ = std::fs::remove_dir_all(place);
    let options: &[&str] = match tool {
        Tool::Instructions => &["--tool=callgrind", "--callgrind-out-file=/dev/null"],
        Tool::Allocations => &["--tool=memcheck", "--undef-value-errors=no"],
    };
    let output = Command::new("valgrind")
        .args(options)
        .arg(own)
        .args([DO_A_PART, part, &count.to_string(), arg(place)])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let marked = match tool {
        Tool::Instructions => said.split("Collected :").nth(1)?,
        Tool::Allocations => said.split("total heap usage:").nth(1)?,
    };
    marked
        .split_whitespace()
        .next()?
        .replace(',', "")
        .parse()
        .ok()
}
