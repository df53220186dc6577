//! The figures of `docs/benchmarks.md` that have goals, measured on loopback and printed as
//! one table. Without arguments all that takes less than minutes; else the named parts:
//! `cargo bench --bench figures -- paced flat`.

mod agent;
mod load;
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

const PARTS: &[Part] = &[
    Part {
        name: "paced",
        measure: agent::paced,
        long: false,
    },
    Part {
        name: "dark",
        measure: agent::dark,
        long: false,
    },
    Part {
        name: "flat",
        measure: agent::flat,
        long: false,
    },
    Part {
        name: "growth",
        measure: agent::growth,
        long: false,
    },
    Part {
        name: "rest",
        measure: agent::rest,
        long: true,
    },
];

fn main() {
    be_what_is_asked();
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
