//! The figures of `docs/benchmarks.md` that have goals, measured on loopback and printed as
//! one table. Without arguments all that together takes minutes; else the named parts:
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
mod web;

use load::be_what_is_asked;
use support::Dir;
use table::Table;

type Measure = fn(&Dir, &mut Table);

/// What is measured unless parts are named.
const USUAL: &[(&str, Measure)] = &[
    ("paced", agent::paced),
    ("dark", agent::dark),
    ("flat", agent::flat),
    ("growth", agent::growth),
    ("parts", parts::parts),
    ("link", link::link),
    ("latency", manager::latency),
    ("many", manager::many),
    ("board", board::board),
    ("web", web::web),
];

/// What takes long, or needs more than this repository.
const NAMED_ONLY: &[(&str, Measure)] = &[
    ("history", manager::history),
    ("peers", peers::peers),
    ("hostile", hostile::hostile),
    ("rest", agent::rest),
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
    let all = || USUAL.iter().chain(NAMED_ONLY);
    if let Some(unknown) = named.iter().find(|name| all().all(|part| part.0 != **name)) {
        let names: Vec<&str> = all().map(|part| part.0).collect();
        eprintln!("no part {unknown:?}: there are {}", names.join(", "));
        std::process::exit(2);
    }
    let is_named = |part: &&(&str, Measure)| named.iter().any(|name| name == part.0);
    let wanted: Vec<_> = match named.is_empty() {
        true => USUAL.iter().collect(),
        false => all().filter(is_named).collect(),
    };
    let mut table = Table::default();
    for (name, measure) in wanted {
        eprintln!("{name}:");
        measure(&Dir::new(name), &mut table);
    }
    table.print();
}
