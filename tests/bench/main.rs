//! The figures of `docs/benchmarks.md` that have goals, measured on loopback and printed as
//! one table. Without arguments all that takes less than minutes; else the named parts:
//! `cargo bench --bench figures -- paced flat`.

mod agent;
mod board;
mod fake;
mod hostile;
mod lateness;
mod link;
mod load;
mod manager;
mod parts;
mod peers;
mod support;
mod table;

use load::be_what_is_asked;
use support::Dir;
use table::Table;

/// A part's name, what it measures, and whether it takes minutes.
struct Part {
    name: &'static str,
    measure: fn(&Dir, &mut Table),
    long: bool,
}

const fn part(name: &'static str, measure: fn(&Dir, &mut Table)) -> Part {
    let long = false;
    Part {
        name,
        measure,
        long,
    }
}

const fn long(name: &'static str, measure: fn(&Dir, &mut Table)) -> Part {
    let long = true;
    Part {
        name,
        measure,
        long,
    }
}

const PARTS: &[Part] = &[
    part("paced", agent::paced),
    part("dark", agent::dark),
    part("flat", agent::flat),
    part("growth", agent::growth),
    part("parts", parts::parts),
    part("link", link::link),
    part("latency", manager::latency),
    part("many", manager::many),
    part("board", board::board),
    long("history", manager::history),
    long("peers", peers::peers),
    long("hostile", hostile::hostile),
    long("rest", agent::rest),
];

fn main() {
    be_what_is_asked();
    parts::do_what_is_asked();
    if !support::asked() {
        return;
    }
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let unknown = named
        .iter()
        .find(|name| PARTS.iter().all(|part| part.name != **name));
    if let Some(unknown) = unknown {
        let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        eprintln!("no part {unknown:?}: there are {}", names.join(", "));
        std::process::exit(2);
    }
    let mut table = Table::default();
    for part in PARTS {
        let wanted = match named.is_empty() {
            true => !part.long,
            false => named.iter().any(|name| name == part.name),
        };
        if wanted {
            eprintln!("{}:", part.name);
            (part.measure)(&Dir::new(part.name), &mut table);
        }
    }
    table.print();
}
