//! A script being played: what to do next, judged by what has arrived and by the time.
//! Whoever plays it writes, reads and tells the time; see [`Talk::next`].

use std::time::Duration;

use crate::model::{Failure, Mono, Why, millis};
use crate::script::{Expect, KEPT_BYTES_MAX, Need, Pattern, Place, Script, Step, escape};
use crate::text::cut;
use crate::units::duration_text;

/// Bytes shown of what arrived instead of what was expected.
const SHOWN_BYTES_MAX: usize = 80;

/// What whoever plays a script is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'s> {
    /// Write all of this, then say [`Talk::sent`].
    Send(&'s [u8]),
    /// Read until then at the latest, and tell what came.
    Read { until: Mono },
    /// Every step is through.
    Done,
}

/// A script's place in a conversation.
#[derive(Debug)]
pub struct Talk<'s> {
    steps: &'s [Step],
    /// When the whole has to be through.
    deadline: Mono,
    /// When the step at hand began.
    began: Mono,
    /// What has arrived and was not matched by a step before.
    heard: Vec<u8>,
    /// The match before ended within a line, so that `heard` does not begin one.
    mid_line: bool,
    /// Where each pattern of the step at hand was found to end, and up to where they were
    /// looked for: what arrives is searched once.
    ends: Vec<Option<usize>>,
    searched: usize,
    closed: bool,
}

impl<'s> Talk<'s> {
    /// Begins a script at `now`; all of it has to be through before `deadline`.
    pub fn new(script: &'s Script, now: Mono, deadline: Mono) -> Talk<'s> {
        Talk {
            steps: &script.steps,
            deadline,
            began: now,
            heard: Vec::new(),
            mid_line: false,
            ends: Vec::new(),
            searched: 0,
            closed: false,
        }
    }

    /// What is to be done now; or why the probe has failed.
    pub fn next(&mut self, now: Mono) -> Result<Next<'s>, Failure> {
        loop {
            let Some((step, rest)) = self.steps.split_first() else {
                return Ok(Next::Done);
            };
            let waiting = match step {
                Step::Send(bytes) => return Ok(Next::Send(bytes)),
                Step::Expect(expect) => self.judge(expect, now)?,
                Step::Silence(long) => self.judge_silence(*long, now)?,
            };
            if let Some(until) = waiting {
                return Ok(Next::Read { until });
            }
            self.steps = rest;
            self.begin(now);
        }
    }

    /// What the step at hand wanted said is said. What arrived before is no answer to it.
    pub fn sent(&mut self, now: Mono) {
        self.steps = self.steps.get(1..).unwrap_or_default();
        self.heard.clear();
        self.mid_line = false;
        self.begin(now);
    }

    /// A step begins. A silence does so with what came before it forgotten.
    fn begin(&mut self, now: Mono) {
        self.began = now;
        self.ends.clear();
        self.searched = 0;
        if let Some(Step::Silence(_)) = self.steps.first() {
            self.heard.clear();
        }
    }

    /// These bytes have arrived.
    pub fn heard(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
    }

    /// Nothing more will arrive.
    pub fn closed(&mut self) {
        self.closed = true;
    }

    /// Until when to wait for more; `None` when the step is through.
    fn judge(&mut self, expect: &Expect, now: Mono) -> Result<Option<Mono>, Failure> {
        let found = self.match_end(expect);
        let rejected = reject_at(&self.heard, self.mid_line, &expect.reject);
        if let Some(at) = rejected.filter(|at| found.is_none_or(|end| *at < end)) {
            let text = format!("got {}, which is rejected", shown(&self.heard[at..]));
            return Err(failure(Why::Mismatch, text));
        }
        if let Some(end) = found {
            self.mid_line = match end {
                0 => self.mid_line,
                end => self.heard[end - 1] != b'\n',
            };
            self.heard.drain(..end);
            return Ok(None);
        }
        let wanted = wanted(expect);
        if self.heard.len() >= KEPT_BYTES_MAX {
            let text = format!("expected {wanted}, got {KEPT_BYTES_MAX} bytes without it");
            return Err(failure(Why::Mismatch, text));
        }
        if self.closed {
            return Err(match self.heard.is_empty() {
                true => failure(
                    Why::Closed,
                    format!("expected {wanted}, the other side closed"),
                ),
                false => {
                    let got = shown(&self.heard);
                    let text = format!("expected {wanted}, got {got} and the end");
                    failure(Why::Mismatch, text)
                }
            });
        }
        let until = self.until(expect.within);
        if now < until {
            return Ok(Some(until));
        }
        match (self.heard.is_empty(), expect.silent_ok) {
            (true, true) => Ok(None),
            (true, false) => {
                let spent = duration_text(spent(self.began, until));
                let text = format!("expected {wanted}, got nothing within {spent}");
                Err(failure(Why::Timeout, text))
            }
            (false, _) => {
                let text = format!("expected {wanted}, got {}", shown(&self.heard));
                Err(failure(Why::Mismatch, text))
            }
        }
    }

    /// Where the match of what is expected ends, when all of it is there.
    fn match_end(&mut self, expect: &Expect) -> Option<usize> {
        self.ends.resize(expect.patterns.len(), None);
        for (end, pattern) in self.ends.iter_mut().zip(&expect.patterns) {
            let looked = self.searched;
            *end = end.or_else(|| end_of(&self.heard, pattern, looked));
        }
        self.searched = self.heard.len();
        let mut ends = self.ends.iter().copied();
        match expect.need {
            Need::Any => ends.flatten().min(),
            Need::All => ends.try_fold(0, |most, end| Some(most.max(end?))),
        }
    }

    fn judge_silence(&mut self, long: Duration, now: Mono) -> Result<Option<Mono>, Failure> {
        if !self.heard.is_empty() {
            let text = format!("expected silence, got {}", shown(&self.heard));
            return Err(failure(Why::Mismatch, text));
        }
        if self.closed {
            let text = "expected silence, the other side closed".to_string();
            return Err(failure(Why::Closed, text));
        }
        let until = self.began.after(long);
        if now >= until {
            return Ok(None);
        }
        if now >= self.deadline {
            let text = format!("no time for a silence of {}", duration_text(long));
            return Err(failure(Why::Timeout, text));
        }
        Ok(Some(until.min(self.deadline)))
    }

    fn until(&self, within: Option<Duration>) -> Mono {
        within.map_or(self.deadline, |within| {
            self.began.after(within).min(self.deadline)
        })
    }
}

/// Whole milliseconds, as people think of them.
fn spent(from: Mono, to: Mono) -> Duration {
    Duration::from_millis(millis(to.since(from)))
}

fn failure(why: Why, text: String) -> Failure {
    Failure { why, text }
}

/// Bytes in quotes, escaped and cut.
fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let more = if cut.len() < bytes.len() { "…" } else { "" };
    let text = escape(cut);
    let text = text
        .replace('\r', "\\r")
        .replace('\n', "\\n")
        .replace('\t', "\\t");
    format!("\"{text}{more}\"")
}

fn wanted(expect: &Expect) -> String {
    let texts: Vec<String> = expect.patterns.iter().map(|p| shown(&p.bytes)).collect();
    let joint = match expect.need {
        Need::Any => " or ",
        Need::All => " and ",
    };
    cut(&texts.join(joint), 2 * SHOWN_BYTES_MAX).to_string()
}

/// Where the first match of a pattern ends; the first `looked` bytes were searched before.
fn end_of(heard: &[u8], pattern: &Pattern, looked: usize) -> Option<usize> {
    let bytes = &pattern.bytes;
    match pattern.place {
        Place::Start => heard.starts_with(bytes).then_some(bytes.len()),
        Place::Anywhere if bytes.is_empty() => Some(0),
        Place::Anywhere => {
            let from = looked.saturating_sub(bytes.len() - 1);
            heard[from..]
                .windows(bytes.len())
                .position(|w| w == bytes)
                .map(|at| from + at + bytes.len())
        }
    }
}

/// Where the first line stands that opens with something rejected.
fn reject_at(heard: &[u8], mid_line: bool, reject: &[Vec<u8>]) -> Option<usize> {
    if reject.is_empty() {
        return None;
    }
    let newlines = heard.iter().enumerate().filter(|(_, b)| **b == b'\n');
    let first = (!mid_line).then_some(0);
    let mut starts = first.into_iter().chain(newlines.map(|(at, _)| at + 1));
    starts.find(|at| reject.iter().any(|r| heard[*at..].starts_with(r)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(ms * 1000)
    }

    fn expect(patterns: &[&str]) -> Expect {
        let pattern = |text: &&str| Pattern {
            bytes: text.as_bytes().to_vec(),
            place: Place::Anywhere,
        };
        Expect {
            patterns: patterns.iter().map(pattern).collect(),
            need: Need::Any,
            reject: Vec::new(),
            within: None,
            silent_ok: false,
        }
    }

    fn send(text: &str) -> Step {
        Step::Send(text.as_bytes().to_vec())
    }

    /// Plays a script against what arrives when: `("text", ms)`, the text `<end>` closes.
    /// Gives all that was sent and the verdict.
    fn play(steps: Vec<Step>, arrives: &[(&str, u64)], deadline_ms: u64) -> (String, String) {
        let script = Script { steps };
        let mut talk = Talk::new(&script, at(0), at(deadline_ms));
        let (mut now, mut said) = (at(0), String::new());
        let mut arrives = arrives.iter();
        loop {
            match talk.next(now) {
                Ok(Next::Send(bytes)) => {
                    said.push_str(std::str::from_utf8(bytes).unwrap());
                    talk.sent(now);
                }
                Ok(Next::Read { until }) => match arrives.as_slice().first() {
                    Some((text, ms)) if at(*ms) <= until => {
                        arrives.next();
                        now = now.max(at(*ms));
                        match *text {
                            "<end>" => talk.closed(),
                            text => talk.heard(text.as_bytes()),
                        }
                    }
                    _ => now = until,
                },
                Ok(Next::Done) => return (said, "done".to_string()),
                Err(failure) => {
                    return (said, format!("{}: {}", failure.why.as_str(), failure.text));
                }
            }
        }
    }

    fn verdict(steps: Vec<Step>, arrives: &[(&str, u64)]) -> String {
        play(steps, arrives, 1000).1
    }

    #[test]
    fn a_conversation_goes_step_by_step() {
        let smtp = || {
            let reply = Expect {
                reject: vec![b"5".to_vec()],
                ..expect(&["250 "])
            };
            vec![
                Step::Expect(expect(&["220 "])),
                send("EHLO x\r\n"),
                Step::Expect(reply),
                send("QUIT\r\n"),
            ]
        };
        let good = [
            ("22", 1),
            ("0 mx1 ESMTP 25 5\r\n", 2),
            ("250-mx1\r\n250-SIZE 500\r", 3),
            ("\n250 OK", 4),
        ];
        let (said, verdict) = play(smtp(), &good, 1000);
        assert_eq!(
            (said.as_str(), verdict.as_str()),
            ("EHLO x\r\nQUIT\r\n", "done")
        );
        let bad = [("220 mx1\r\n", 1), ("550 go away\r\n250 OK", 2)];
        let (said, verdict) = play(smtp(), &bad, 1000);
        assert_eq!(said, "EHLO x\r\n");
        assert_eq!(
            verdict,
            "mismatch: got \"550 go away\\r\\n250 OK\", which is rejected"
        );
    }

    #[test]
    fn patterns_match_across_reads_and_in_turn() {
        let both = |need| {
            vec![Step::Expect(Expect {
                need,
                ..expect(&["ab", "yz"])
            })]
        };
        let start = |text: &str| {
            let mut expect = expect(&[text]);
            expect.patterns[0].place = Place::Start;
            Step::Expect(expect)
        };
        let one = |text| Step::Expect(expect(&[text]));
        for (steps, arrives, expected) in [
            (both(Need::Any), vec![("..a", 1), ("b", 2)], "done"),
            (both(Need::Any), vec![("yz", 1)], "done"),
            (both(Need::All), vec![("yz..ab", 1)], "done"),
            (
                both(Need::All),
                vec![("ab", 1), ("<end>", 2)],
                "mismatch: expected \"ab\" and \"yz\", got \"ab\" and the end",
            ),
            (vec![start("+OK")], vec![("+O", 1), ("K", 2)], "done"),
            (
                vec![start("+OK")],
                vec![(" +OK", 1)],
                "mismatch: expected \"+OK\", got \" +OK\"",
            ),
            // What one step matched is not there for the next, what came after it is.
            (vec![one("a"), one("b")], vec![("ab", 1)], "done"),
            (
                vec![one("a"), one("a")],
                vec![("a", 1)],
                "timeout: expected \"a\", got nothing within 999ms",
            ),
            // What came before something is said is no answer to it.
            (
                vec![one("a"), send("?"), one("b")],
                vec![("ab", 1)],
                "timeout: expected \"b\", got nothing within 999ms",
            ),
        ] {
            assert_eq!(verdict(steps, &arrives), expected);
        }
    }

    #[test]
    fn a_step_goes_on_where_the_one_before_ended() {
        let rejecting = Step::Expect(Expect {
            reject: vec![b"5".to_vec()],
            ..expect(&["ESMTP"])
        });
        let one = |text| Step::Expect(expect(&[text]));
        let quiet = Step::Silence(Duration::from_millis(100));
        for (steps, arrives, expected) in [
            // What is left of a line is no line, and nothing to reject.
            (
                vec![one("220 "), rejecting.clone()],
                vec![("220 5star ESMTP", 1)],
                "done",
            ),
            (
                vec![one("220 a\n"), rejecting],
                vec![("220 a\n5star ESMTP", 1)],
                "mismatch: got \"5star ESMTP\", which is rejected",
            ),
            // A silence begins when it begins.
            (vec![one("220 "), quiet], vec![("220 hi\r\n", 1)], "done"),
        ] {
            assert_eq!(verdict(steps, &arrives), expected);
        }
    }

    #[test]
    fn time_and_the_end_are_told_apart() {
        let within = |ms, silent_ok| {
            Step::Expect(Expect {
                within: Some(Duration::from_millis(ms)),
                silent_ok,
                ..expect(&["x"])
            })
        };
        let quiet = |ms| Step::Silence(Duration::from_millis(ms));
        let nothing = "timeout: expected \"x\", got nothing within";
        for (steps, arrives, expected) in [
            (
                vec![within(100, false)],
                vec![("x", 99)],
                "done".to_string(),
            ),
            (
                vec![within(100, false)],
                vec![("x", 101)],
                format!("{nothing} 100ms"),
            ),
            (
                vec![within(5000, false)],
                vec![("x", 1001)],
                format!("{nothing} 1s"),
            ),
            (vec![within(100, true)], vec![], "done".into()),
            (
                vec![within(100, true)],
                vec![("y", 5)],
                "mismatch: expected \"x\", got \"y\"".into(),
            ),
            (
                vec![within(100, true)],
                vec![("<end>", 5)],
                "closed: expected \"x\", the other side closed".into(),
            ),
            (vec![quiet(500)], vec![("x", 501)], "done".into()),
            (
                vec![quiet(500)],
                vec![("x", 499)],
                "mismatch: expected silence, got \"x\"".into(),
            ),
            (
                vec![quiet(500)],
                vec![("<end>", 1)],
                "closed: expected silence, the other side closed".into(),
            ),
            (
                vec![quiet(2000)],
                vec![],
                "timeout: no time for a silence of 2s".into(),
            ),
            (vec![within(100, true), quiet(100)], vec![], "done".into()),
        ] {
            assert_eq!(verdict(steps, &arrives), expected);
        }
    }

    #[test]
    fn what_is_kept_has_a_limit_and_what_is_shown_is_escaped() {
        let flood = "x".repeat(KEPT_BYTES_MAX);
        let steps = vec![Step::Expect(expect(&["y"]))];
        assert_eq!(
            verdict(steps.clone(), &[(flood.as_str(), 1)]),
            "mismatch: expected \"y\", got 65536 bytes without it"
        );
        let shown = verdict(steps, &[("\u{1b}[2J\r\n", 1), ("<end>", 2)]);
        assert_eq!(
            shown,
            "mismatch: expected \"y\", got \"\\x1b[2J\\r\\n\" and the end"
        );
    }
}
