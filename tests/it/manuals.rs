//! Man pages and shell completions are made of the tables that `--help` prints, and
//! tcpmon-fleet(5) of the manual: `TCPMON_BLESS=1 cargo test --test it manuals` writes them
//! anew, and a test keeps them so.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use tcpmon::cli::{Opt, Program};
use tcpmon::{agent, manager, server};

const HELP: [Opt; 2] = [
    plain("--help", "print a help text"),
    plain("--version", "print the version"),
];

const fn plain(name: &'static str, help: &'static str) -> Opt {
    Opt {
        name,
        value: "",
        default: "",
        help,
        repeat: false,
    }
}

/// The three programs, each with its commands.
fn all() -> [&'static [&'static Program]; 3] {
    [server::PROGRAMS, agent::PROGRAMS, manager::PROGRAMS]
}

/// Text as troff takes it: no escapes, no requests.
fn troff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = text
        .lines()
        .map(|line| match line.starts_with(['.', '\'']) {
            true => format!("\\&{line}"),
            false => line.to_string(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

/// A block that is shown as it stands.
fn as_it_stands(out: &mut String, text: &str) {
    let _ = writeln!(out, ".PP\n.nf\n{}\n.fi", troff(text));
}

fn options(out: &mut String, program: &Program) {
    for opt in program.opts.iter().chain(&HELP) {
        let mut about = opt.help.to_string();
        if opt.repeat {
            about.push_str("; may be repeated");
        }
        if !opt.default.is_empty() {
            let _ = write!(about, " (default: {})", opt.default);
        }
        let name = troff(opt.name);
        let value = match opt.value {
            "" => String::new(),
            value => format!(" \\fI{}\\fR", troff(value)),
        };
        let _ = writeln!(out, ".TP\n\\fB{name}\\fR{value}\n{}", troff(&about));
    }
}

/// The page of a program, its commands in sections of their own.
fn page(programs: &[&Program]) -> String {
    let (program, commands) = (programs[0], &programs[1..]);
    let mut out = format!(
        ".TH {} 1 \"\" \"tcpmon {}\" \"tcpmon\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS",
        program.name.to_uppercase(),
        env!("CARGO_PKG_VERSION"),
        program.name,
        troff(program.about.trim_end_matches('.')),
    );
    out.push('\n');
    as_it_stands(&mut out, &program.usage.join("\n"));
    let _ = writeln!(out, ".SH DESCRIPTION\n{}", troff(program.about));
    if !program.more.is_empty() {
        as_it_stands(&mut out, program.more);
    }
    out.push_str(".SH OPTIONS\n");
    options(&mut out, program);
    if !commands.is_empty() {
        out.push_str(".SH COMMANDS\n");
    }
    for command in commands {
        let _ = writeln!(out, ".SS {}\n{}", troff(command.name), troff(command.about));
        as_it_stands(&mut out, &command.usage.join("\n"));
        options(&mut out, command);
        if !command.more.is_empty() {
            as_it_stands(&mut out, command.more);
        }
    }
    out.push_str(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong command line.\n");
    if programs.iter().any(|p| p.name.ends_with(" check")) {
        out.push_str("check has those of plugins: 0 ok, 1 warning, 2 critical, 3 unknown.\n");
    }
    out.push_str(".SH SEE ALSO\n");
    let others = [
        "tcpmon-server(1)",
        "tcpmon-agent(1)",
        "tcpmon-manager(1)",
        "tcpmon-fleet(5)",
    ];
    let others = others
        .iter()
        .filter(|other| !other.starts_with(program.name));
    let others: Vec<String> = others.map(|other| troff(other)).collect();
    let _ = writeln!(out, "{}", others.join(",\n"));
    out
}

/// Inline Markdown as troff: links by their texts, code and bold in bold.
fn inline(text: &str) -> String {
    let mut text = text.replace("\\|", "|");
    while let Some(open) = text.find("](") {
        let Some(start) = text[..open].rfind('[') else {
            break;
        };
        let Some(end) = text[open..].find(')') else {
            break;
        };
        let shown = text[start + 1..open].to_string();
        text.replace_range(start..=open + end, &shown);
    }
    let mut out = String::new();
    let mut bold = false;
    let marked = text.replace("**", "`");
    for part in marked.split('`') {
        match bold {
            true => {
                let _ = write!(out, "\\fB{}\\fR", troff(part));
            }
            false => out.push_str(&troff(part)),
        }
        bold = !bold;
    }
    match out.starts_with(['.', '\'']) {
        true => format!("\\&{out}"),
        false => out,
    }
}

/// The manual's Markdown as a man page: headings, paragraphs, lists, code, and tables whose
/// first column is a term.
fn fleet(manual: &str) -> String {
    let mut out = format!(
        ".TH TCPMON-FLEET 5 \"\" \"tcpmon {}\" \"tcpmon\"\n.SH NAME\ntcpmon\\-fleet \\- what tcpmon monitors, and from where\n.SH DESCRIPTION\n",
        env!("CARGO_PKG_VERSION"),
    );
    let (mut in_code, mut titles): (bool, Option<Vec<String>>) = (false, None);
    for line in manual.lines().skip(1) {
        if line.starts_with("```") {
            out.push_str(if in_code { ".fi\n" } else { ".PP\n.nf\n" });
            in_code = !in_code;
        } else if in_code {
            let _ = writeln!(
                out,
                "{}",
                if line.is_empty() {
                    "\\&".into()
                } else {
                    troff(line)
                }
            );
        } else if let Some(row) = line.strip_prefix("| ").or(line.strip_prefix("|")) {
            let row = row.replace("\\|", "\u{1}");
            let cells = row.trim_end_matches('|').split('|');
            let cells: Vec<String> = cells.map(|c| c.trim().replace('\u{1}', "|")).collect();
            match &titles {
                None => titles = Some(cells),
                Some(_) if cells.iter().all(|cell| cell.trim_matches('-').is_empty()) => {}
                Some(titles) => {
                    let _ = writeln!(out, ".TP\n{}", inline(&cells[0]));
                    let more = cells
                        .iter()
                        .zip(titles)
                        .skip(1)
                        .filter(|(cell, _)| !cell.is_empty());
                    let more: Vec<String> = more
                        .map(|(cell, title)| match title.as_str() {
                            "default" | "example" => format!("{title}: {}", inline(cell)),
                            _ => inline(cell),
                        })
                        .collect();
                    let _ = writeln!(out, "{}", more.join("; "));
                }
            }
        } else {
            titles = None;
            match line {
                "" => out.push_str(".PP\n"),
                line if line.starts_with("### ") => {
                    let _ = writeln!(out, ".SS {}", inline(&line[4..]));
                }
                line if line.starts_with("## ") => {
                    let _ = writeln!(out, ".SH {}", inline(&line[3..].to_uppercase()));
                }
                line if line.starts_with("- ") => {
                    let _ = writeln!(out, ".IP \\(bu 2\n{}", inline(&line[2..]));
                }
                line => {
                    let _ = writeln!(out, "{}", inline(line.trim_start()));
                }
            }
        }
    }
    // An empty paragraph before a heading or another says nothing.
    while out.contains(".PP\n.PP\n") {
        out = out.replace(".PP\n.PP\n", ".PP\n");
    }
    for next in [".SH", ".SS", ".TP", ".IP"] {
        out = out.replace(&format!(".PP\n{next}"), next);
    }
    out = out.trim_end_matches(".PP\n").to_string();
    out.push_str(".SH SEE ALSO\ntcpmon\\-manager(1)\n");
    out
}

/// A page without paragraphs that a heading has begun already.
fn tidy(page: &str) -> String {
    let mut out = String::new();
    let mut after_heading = false;
    for line in page.lines() {
        if line != ".PP" || !after_heading {
            out.push_str(line);
            out.push('\n');
        }
        after_heading = line.starts_with(".SH") || line.starts_with(".SS");
    }
    out
}

/// Names of an option: the short and the long form of some.
fn names(opt: &Opt) -> impl Iterator<Item = &'static str> {
    opt.name.split(", ")
}

fn is_file(opt: &Opt) -> bool {
    matches!(opt.value, "FILE" | "DIR")
}

/// The command's word: `watch` of `tcpmon-manager watch`.
fn word(program: &Program) -> &str {
    program.name.split_once(' ').map_or("", |(_, word)| word)
}

fn bash(programs: &[&Program]) -> String {
    let name = programs[0].name;
    let function = format!("_{}", name.replace('-', "_"));
    let words: Vec<&str> = programs[1..].iter().map(|p| word(p)).collect();
    let mut out = format!(
        "# bash completion of {name}\n{function}() {{\n    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} opts files\n    case ${{COMP_WORDS[1]}} in\n"
    );
    for program in programs[1..].iter().chain(&programs[..1]) {
        let pattern = match word(program) {
            "" => "*",
            word => word,
        };
        let opts = program.opts.iter().chain(&HELP);
        let opts: Vec<&str> = opts.flat_map(names).collect();
        let files = program
            .opts
            .iter()
            .filter(|opt| is_file(opt))
            .flat_map(names);
        let files: Vec<&str> = files.collect();
        let _ = writeln!(
            out,
            "    {pattern}) opts=\"{}\" files=\" {} \" ;;",
            opts.join(" "),
            files.join(" ")
        );
    }
    let commands = match words.is_empty() {
        true => String::new(),
        false => format!(
            "    [ \"$COMP_CWORD\" = 1 ] && opts=\"{} $opts\"\n",
            words.join(" ")
        ),
    };
    let _ = write!(
        out,
        "    esac\n{commands}    case $files in *\" $prev \"*) COMPREPLY=($(compgen -f -- \"$cur\")); return ;; esac\n    case $cur in\n    -*) COMPREPLY=($(compgen -W \"$opts\" -- \"$cur\")) ;;\n    *) COMPREPLY=($(compgen -W \"$opts\" -- \"$cur\") $(compgen -f -- \"$cur\")) ;;\n    esac\n}}\ncomplete -o filenames -F {function} {name}\n"
    );
    out
}

fn zsh(programs: &[&Program]) -> String {
    let name = programs[0].name;
    let quoted = |text: &str| {
        text.replace('\'', "'\\''")
            .replace(':', "\\:")
            .replace('[', "\\[")
            .replace(']', "\\]")
    };
    let spec = |program: &Program| {
        let mut out = String::from("_arguments -s");
        for opt in program.opts.iter().chain(&HELP) {
            for one in names(opt) {
                let many = if opt.repeat { "*" } else { "" };
                let value = match (opt.value, is_file(opt)) {
                    ("", _) => String::new(),
                    (value, true) => format!(":{}:_files", quoted(value)),
                    (value, false) => format!(":{}: ", quoted(value)),
                };
                let _ = write!(
                    out,
                    " \\\n        '{many}{one}[{}]{value}'",
                    quoted(opt.help)
                );
            }
        }
        out + " \\\n        '*:file:_files'"
    };
    let mut out = format!("#compdef {name}\n");
    match programs.len() {
        1 => {
            let _ = writeln!(out, "{}", spec(programs[0]));
        }
        _ => {
            out.push_str("local -a commands\ncommands=(\n");
            for command in &programs[1..] {
                let _ = writeln!(out, "    '{}:{}'", word(command), quoted(command.about));
            }
            out.push_str(")\nif (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n    _describe command commands\n    return\nfi\ncase $words[2] in\n");
            for command in &programs[1..] {
                let _ = writeln!(out, "{})\n    {}\n    ;;", word(command), spec(command));
            }
            let _ = writeln!(out, "*)\n    {}\n    ;;\nesac", spec(programs[0]));
        }
    }
    out
}

fn fish(programs: &[&Program]) -> String {
    let name = programs[0].name;
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let words: Vec<&str> = programs[1..].iter().map(|p| word(p)).collect();
    let mut out = format!("# fish completion of {name}\n");
    for command in &programs[1..] {
        let _ = writeln!(
            out,
            "complete -c {name} -f -n __fish_use_subcommand -a {} -d '{}'",
            word(command),
            quoted(command.about)
        );
    }
    for program in programs {
        let when = match (word(program), words.is_empty()) {
            ("", true) => String::new(),
            ("", false) => " -n __fish_use_subcommand".to_string(),
            (word, _) => format!(" -n '__fish_seen_subcommand_from {word}'"),
        };
        for opt in program.opts.iter().chain(&HELP) {
            let mut forms = String::new();
            for one in names(opt) {
                match one.strip_prefix("--") {
                    Some(long) => forms.push_str(&format!(" -l {long}")),
                    None => forms.push_str(&format!(" -s {}", one.trim_start_matches('-'))),
                }
            }
            let value = match (opt.value, is_file(opt)) {
                ("", _) => "",
                (_, true) => " -r",
                (_, false) => " -x",
            };
            let _ = writeln!(
                out,
                "complete -c {name}{when}{forms}{value} -d '{}'",
                quoted(opt.help)
            );
        }
    }
    out
}

/// The files, and what is to be in them.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = fs::read_to_string(root.join("docs/configuration.md")).unwrap();
    let mut files = vec![("docs/man/tcpmon-fleet.5".to_string(), tidy(&fleet(&manual)))];
    for programs in all() {
        let name = programs[0].name;
        files.push((format!("docs/man/{name}.1"), tidy(&page(programs))));
        files.push((format!("docs/completions/{name}.bash"), bash(programs)));
        files.push((format!("docs/completions/_{name}"), zsh(programs)));
        files.push((format!("docs/completions/{name}.fish"), fish(programs)));
    }
    files
}

#[test]
fn manuals_and_completions_are_those_of_the_tables() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in files() {
        if std::env::var_os("TCPMON_BLESS").is_some() {
            fs::write(root.join(&path), &text).unwrap();
        }
        let found = fs::read_to_string(root.join(&path)).unwrap_or_default();
        assert!(found == text, "{path} is not as --help is");
    }
}

#[test]
fn every_option_is_in_its_manual_and_its_completions() {
    for programs in all() {
        let texts = [
            page(programs),
            bash(programs),
            zsh(programs),
            fish(programs),
        ];
        for opt in programs.iter().flat_map(|p| p.opts) {
            let long = opt.name.rsplit("--").next().unwrap();
            let plain: Vec<String> = texts.iter().map(|text| text.replace("\\-", "-")).collect();
            for text in plain {
                assert!(text.contains(long), "{}: {}", programs[0].name, opt.name);
            }
        }
    }
}
