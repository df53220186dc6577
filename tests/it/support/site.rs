//! A small world for tests of the whole product: a directory of the test's own, a
//! server to probe, agents, a manager, their keys, and what is stored in the end.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Finished, Running, own_loopback, program, run, until};

/// A directory of the test's own, with everything in it.
pub struct Site {
    dir: TempDir,
    pub server: Running,
    pub ports: Vec<SocketAddr>,
}

impl Site {
    pub fn new(listeners: usize) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let own = SocketAddr::from((own_loopback(), 0));
        let mut server = server(dir.path(), &vec![own; listeners]);
        let ports = (0..listeners).map(|_| server.listening()).collect();
        Site { dir, server, ports }
    }

    /// Starts the server again where it was.
    pub fn server_again(&mut self) {
        self.server = server(self.dir.path(), &self.ports);
        for _ in &self.ports {
            self.server.listening();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts agent `name` on `listen`; where it listens.
    pub fn agent(&self, name: &str, listen: &str) -> (Running, SocketAddr) {
        let mut command = program("tcpmon-agent");
        command
            .args(["--listen", listen, "--name", name, "--data"])
            .arg(self.path(name));
        let mut agent = Running::start(&mut command);
        let addr = agent.listening();
        (agent, addr)
    }

    /// The same with so little room that its spool goes on to another segment every few
    /// seconds.
    pub fn agent_of_little_room(&self, name: &str, listen: &str) -> (Running, SocketAddr) {
        let args = ["--listen", listen, "--name", name, "--spool-limit", "1MiB"];
        let mut agent = self.agent_with(name, &args);
        let addr = agent.listening();
        (agent, addr)
    }

    pub fn manager(&self, words: &[&str]) -> Command {
        let mut command = program("tcpmon-manager");
        command.args(words).args(["--name", "main"]);
        self.common(command)
    }

    fn common(&self, mut command: Command) -> Command {
        command.arg("--config").arg(self.path("fleet.json"));
        command.arg("--data").arg(self.path("manager"));
        command
    }

    pub fn reading(&self, words: &[&str]) -> String {
        run(&mut self.reading_command(words)).stdout
    }

    /// A command of the manager's that only reads.
    pub fn reading_command(&self, words: &[&str]) -> Command {
        let mut command = program("tcpmon-manager");
        command.args(words);
        self.common(command)
    }

    /// Writes a fleet of these agents and `targets` targets at `interval`.
    pub fn fleet(&self, agents: &[(&str, SocketAddr)], targets: usize, interval: &str) {
        let agents: Vec<String> = agents
            .iter()
            .map(|(name, addr)| format!(r#"{{"name":"{name}","address":"{addr}"}}"#))
            .collect();
        let interval = format!(r#""interval":"{interval}""#);
        self.fleet_of(&agents, &interval, targets);
    }

    /// Writes a fleet of these agents, each an object of the file, and these defaults.
    pub fn fleet_of(&self, agents: &[String], defaults: &str, targets: usize) {
        let targets = (0..targets).map(|n| {
            let addr = self.ports[n % self.ports.len()];
            format!(r#"{{"name":"t{n}","address":"{addr}"}}"#)
        });
        let text = format!(
            r#"{{"agents":[{}],"defaults":{{{defaults}}},"targets":[{}]}}"#,
            agents.join(","),
            targets.collect::<Vec<_>>().join(",")
        );
        fs::write(self.path("fleet.json"), text).unwrap();
    }

    /// Starts an agent in this directory, with its data in `data`; names of files in
    /// `args` are relative to the directory.
    pub fn agent_with(&self, data: &str, args: &[&str]) -> Running {
        let mut command = program("tcpmon-agent");
        command.args(["--data", data]).args(args);
        Running::start(command.current_dir(self.dir.path()))
    }

    /// Starts the manager without prompts.
    pub fn serve(&self, args: &[&str]) -> Running {
        Running::start(self.manager(&["serve"]).args(args))
    }

    /// Makes a key in this directory.
    pub fn keygen(&self, args: &[&str]) -> Finished {
        let mut command = program("tcpmon-manager");
        command.arg("keygen").args(args);
        let done = run(command.current_dir(self.dir.path()));
        done.code(0);
        done
    }

    /// Gives a key file other keys, at once: those of these files, in this order.
    pub fn rekey(&self, file: &str, from: &[&str]) {
        let keys = from.iter().map(|name| fs::read_to_string(self.path(name)));
        let keys: String = keys.map(Result::unwrap).collect();
        let new = self.path("rekeyed");
        fs::copy(self.path(file), &new).unwrap();
        fs::write(&new, keys).unwrap();
        fs::rename(new, self.path(file)).unwrap();
    }

    /// Fails the test when a secret of this directory's key files is in what a program
    /// said, or in another file here.
    #[track_caller]
    pub fn keeps_secrets(&self, programs: &mut [&mut Running]) {
        let (mut secrets, mut others) = (Vec::new(), Vec::new());
        for path in files_in(self.dir.path()) {
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            match text.starts_with("tcpmon-key ") {
                true => secrets.extend(text.lines().map(secret_of)),
                false => others.push(text),
            }
        }
        assert!(!secrets.is_empty(), "no key file here");
        for program in programs {
            others.extend([program.stdout.seen(), program.stderr.seen()]);
        }
        for secret in secrets {
            let told = others.iter().any(|text| text.contains(&secret));
            assert!(!told, "a secret was told");
        }
    }

    /// Every record line in the manager's history, by the agent's name.
    pub fn stored(&self) -> HashMap<String, Vec<String>> {
        let mut stored: HashMap<String, Vec<String>> = HashMap::new();
        let Ok(histories) = fs::read_dir(self.path("manager/history")) else {
            return stored;
        };
        for history in histories.map(|h| h.unwrap().path()) {
            let Ok(name) = fs::read_to_string(history.join("agent")) else {
                continue;
            };
            let mut segments: Vec<PathBuf> = fs::read_dir(&history)
                .unwrap()
                .map(|e| e.unwrap().path())
                .collect();
            segments.sort();
            let lines = stored.entry(name.trim().to_string()).or_default();
            for segment in segments
                .iter()
                .filter(|s| s.extension().is_some_and(|e| e == "jsonl"))
            {
                let text = fs::read_to_string(segment).unwrap_or_default();
                lines.extend(
                    text.lines()
                        .filter(|l| l.starts_with("{\"seq\""))
                        .map(str::to_string),
                );
            }
        }
        stored
    }

    pub fn results(&self, agent: &str) -> usize {
        self.stored().get(agent).map_or(0, |lines| {
            lines.iter().filter(|l| l.contains("\"ok\":")).count()
        })
    }

    /// Waits until the agent's stored results have grown by `more`.
    pub fn grows(&self, agent: &str, more: usize) {
        let goal = self.results(agent) + more;
        until(&format!("{goal} results of {agent}"), || {
            (self.results(agent) >= goal).then_some(())
        });
    }

    /// Waits until everything that was announced is there.
    pub fn audited(&self) -> String {
        until("a clean audit", || {
            let audit = self.reading(&["audit", "--json"]);
            let clean = audit.contains("\"ok\":true") && !has_more_than_zero(&audit, "to_fetch");
            clean.then_some(audit)
        })
    }

    /// Waits until everything is there, and fails the test when something is not or is
    /// there twice.
    #[track_caller]
    pub fn audited_clean(&self) {
        let audit = self.audited();
        for key in ["missing", "duplicate"] {
            assert!(!has_more_than_zero(&audit, key), "{audit}");
        }
    }
}

fn server(dir: &Path, at: &[SocketAddr]) -> Running {
    let mut command = program("tcpmon-server");
    for addr in at {
        command.args(["--listen", &addr.to_string()]);
    }
    command
        .args(["--quiet", "--stats"])
        .arg(dir.join("server.json"));
    Running::start(&mut command)
}

/// Whether any `"key":N` in the text has another N than 0.
pub fn has_more_than_zero(text: &str, key: &str) -> bool {
    let key = format!("\"{key}\":");
    text.split(&key).skip(1).any(|rest| !rest.starts_with('0'))
}

/// The secret on a line of a key file.
pub fn secret_of(line: &str) -> String {
    line.rsplit(' ').next().unwrap_or_default().to_string()
}

/// Copies a directory with all that is in it, but for sockets.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        let to = to.join(entry.file_name());
        match kind.is_dir() {
            true => copy_dir(&entry.path(), &to),
            false if kind.is_file() => drop(fs::copy(entry.path(), to).unwrap()),
            false => {}
        }
    }
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        // What is deleted meanwhile tells nothing.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_in(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}
