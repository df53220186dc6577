//! Whole conversations: the answers in `tests/data/menu/NAME.in` give the transcript in
//! `NAME.txt`, which ends with the files that were written. `TCPMON_BLESS=1` writes those
//! anew. `DIR` stands for a directory with the files of `tests/data/menu/start`.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::{KeyRule, parse_fleet};
use crate::error::{Context, Error};
use crate::manager::board::Link;
use crate::manager::quiet::QuietLog;
use crate::model::{Name, Wall};

#[derive(Default)]
struct State {
    fleet: Arc<Fleet>,
    path: Option<PathBuf>,
    unsaved: bool,
    notices: Vec<String>,
    revision: u64,
    quiet: QuietLog,
}

/// A manager whose agents answer at once: `attic` is away and `cellar` refuses, whatever
/// it is told; all others apply.
#[derive(Default)]
struct Fake {
    insecure: bool,
    state: Mutex<State>,
    board: Mutex<Board>,
    bell: Bell,
}

impl Fake {
    fn put(&self, fleet: Fleet) {
        let mut state = self.state.lock().unwrap();
        state.revision += 1;
        let targets = |name: &Name| (name.clone(), fleet.watched_by(name));
        let lists: Vec<_> = fleet.agents.iter().map(|a| targets(&a.name)).collect();
        let mut board = self.board.lock().unwrap();
        board.set_fleet(&lists);
        for agent in &fleet.agents {
            let name = agent.name.as_str();
            let (away, refuses) = (name == "attic", name == "cellar");
            let trouble = match &agent.address {
                Some(address) => format!("connect to {address}: timed out after 3s"),
                None => "not seen yet".to_string(),
            };
            let link = Link {
                connected: !away,
                pending: away,
                text: if away { trouble } else { String::new() },
                rejected: refuses.then(|| "too many targets for \x1b[1mme".to_string()),
                revision: state.revision.to_string(),
                ..Link::default()
            };
            board.set_link(&agent.name, link, Wall(0));
        }
        state.fleet = Arc::new(fleet);
    }
}

/// 2026-11-25 02:00 UTC, at all times.
const NOW: Wall = Wall(1_795_572_000_000);

impl Running for Fake {
    fn fleet(&self) -> Arc<Fleet> {
        self.state.lock().unwrap().fleet.clone()
    }

    fn path(&self) -> Option<PathBuf> {
        self.state.lock().unwrap().path.clone()
    }

    fn unsaved(&self) -> bool {
        self.state.lock().unwrap().unsaved
    }

    fn key_rule(&self) -> KeyRule {
        match self.insecure {
            true => KeyRule::Waived,
            false => KeyRule::Required,
        }
    }

    fn load(&self, path: &Path) -> std::result::Result<(), Vec<String>> {
        let text = fs::read(path).context(|| format!("read {}", path.display()));
        let text = text.map_err(|error| vec![error.to_string()])?;
        let shown = path.display();
        let fleet = parse_fleet(&text, self.key_rule()).map_err(|problems| -> Vec<String> {
            problems.iter().map(|p| format!("{shown}:{p}")).collect()
        })?;
        self.put(fleet);
        let mut state = self.state.lock().unwrap();
        (state.path, state.unsaved) = (Some(path.to_path_buf()), false);
        Ok(())
    }

    fn change(&self, fleet: Fleet) -> std::result::Result<(), Vec<String>> {
        let problems = fleet.problems(self.key_rule());
        if !problems.is_empty() {
            return Err(problems.iter().map(|p| p.to_string()).collect());
        }
        self.put(fleet);
        self.state.lock().unwrap().unsaved = true;
        Ok(())
    }

    fn save(&self, path: &Path) -> Result<()> {
        files::replace(path, self.fleet().to_json().as_bytes())?;
        let mut state = self.state.lock().unwrap();
        (state.path, state.unsaved) = (Some(path.to_path_buf()), false);
        Ok(())
    }

    fn silences(&self) -> Vec<Entry> {
        let state = self.state.lock().unwrap();
        state.quiet.open(NOW).cloned().collect()
    }

    fn silence(&self, targets: Vec<Pattern>, lasting: Duration, note: &str) -> Result<String> {
        let mut state = self.state.lock().unwrap();
        let (fleet, until) = (state.fleet.clone(), quiet::end(NOW, lasting));
        let news = quiet::silence(&mut state.quiet, &fleet, targets, until, note, NOW);
        Ok(quiet::told(&news?))
    }

    fn unsilence(&self, which: &Which) -> Result<String> {
        let mut state = self.state.lock().unwrap();
        Ok(quiet::told(&quiet::unsilence(
            &mut state.quiet,
            which,
            NOW,
        )?))
    }

    fn test_alert(&self, name: &str) -> Result<String> {
        match name {
            "chat" => Err(Error::new("post to http://127.0.0.1:9/: refused")),
            name => Ok(format!("alert {name}: delivered in 3.5ms")),
        }
    }

    fn notices(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().notices)
    }

    fn board(&self) -> &Mutex<Board> {
        &self.board
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Takes lines until an empty one, as the view does.
    fn watch(&self, lines: &Lines) -> Leave {
        let mut state = self.state.lock().unwrap();
        state.notices.push("\x1b[2Jwatched".to_string());
        loop {
            match lines.recv() {
                crate::term::Input::Line(line) if line.is_empty() => return Leave::Back,
                crate::term::Input::Line(_) => {}
                _ => return Leave::End,
            }
        }
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/menu")
}

fn files_of(dir: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<(String, String)> = entries
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// What is said when these answers are given, and the files that were written. Scripts
/// called `insecure-…` talk to a manager that asks for no keys.
fn transcript(script: &Path, answers: &str) -> (String, Vec<(String, String)>) {
    let dir = TempDir::new().unwrap();
    let start = files_of(&data().join("start"));
    for (name, text) in &start {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let place = dir.path().display().to_string();
    let input = answers.replace("DIR", &place).into_bytes();
    let lines = Lines::of(io::Cursor::new(input)).unwrap();
    let name = script.file_name().unwrap().to_string_lossy();
    let manager = Fake {
        insecure: name.starts_with("insecure-"),
        ..Fake::default()
    };
    let mut out = Vec::new();
    let mut talk = Talk {
        lines: &lines,
        out: &mut out,
        echo: Echo::Here,
    };
    converse(&manager, &mut talk).unwrap();
    let out = String::from_utf8(out).unwrap().replace(&place, "DIR");
    assert!(!out.contains('\x1b'), "{out:?}");
    let mut written = files_of(dir.path());
    written.retain(|file| !start.contains(file));
    (out, written)
}

fn scripts() -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(data())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let scripts = entries.filter(|path| path.extension().is_some_and(|ext| ext == "in"));
    let scripts: Vec<_> = scripts
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    assert!(scripts.len() >= 8);
    scripts
}

#[test]
fn conversations_go_as_written() {
    for (path, answers) in scripts() {
        let (mut got, written) = transcript(&path, &answers);
        for (name, text) in written {
            got += &format!("\n--- DIR/{name}\n{text}");
        }
        let golden = path.with_extension("txt");
        if std::env::var_os("TCPMON_BLESS").is_some() {
            fs::write(&golden, &got).unwrap();
        }
        let want = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(got, want, "{}", path.display());
    }
}

/// After each answer, not only at good places to stop.
#[test]
fn the_end_of_input_stops_every_conversation_and_saves_nothing() {
    for (path, answers) in scripts() {
        let (whole, _) = transcript(&path, &answers);
        let mut before = Vec::new();
        let lines: Vec<&str> = answers.split_inclusive('\n').collect();
        for count in 0..lines.len() {
            let (got, written) = transcript(&path, &lines[..count].concat());
            let place = format!("{} after {count} lines:\n{got}", path.display());
            let unsaved = got.ends_with(" were not saved.\n");
            let said = match unsaved {
                true => got.trim_end_matches('\n').rsplit_once('\n').unwrap().0,
                false => got.strip_suffix('\n').unwrap(),
            };
            assert!(whole.starts_with(said), "{place}");
            // Ending writes no file: what is there was written by the last answer's dialogue.
            let saved = got.matches("Saved ").count() + got.matches("Loaded ").count();
            assert!(written == before || saved > 0, "{place}");
            before = written;
        }
    }
}

#[test]
fn prompts_are_flushed_before_waiting() {
    /// What was written up to each flush.
    #[derive(Default)]
    struct Flushed {
        texts: Vec<String>,
        written: Vec<u8>,
    }
    impl Write for Flushed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            let text = std::mem::take(&mut self.written);
            self.texts.push(String::from_utf8(text).unwrap());
            Ok(())
        }
    }
    let mut out = Flushed::default();
    let lines = Lines::of(&b"1\n2\n"[..]).unwrap();
    run(&Fake::default(), &lines, &mut out).unwrap();
    for (text, end) in out.texts.iter().zip(["\n> ", "\n> ", "]: "]) {
        assert!(text.ends_with(end), "{text:?}");
    }
    assert!(out.texts.len() > 3);
}

#[test]
fn an_output_that_is_gone_ends_the_menu() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::of(&b"1\n"[..]).unwrap();
    let error = run(&Fake::default(), &lines, &mut Gone).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
