//! One question and its answer, over lines: the prompt is shown with its default, the
//! answer is checked at once, and asked for again with the reason until it is good.
//!
//! Always: whatever is shown of an answer or of text from outside is escaped; a prompt is
//! flushed before waiting; the end of input stops the whole menu, `<` what is being asked.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use crate::term::{Input, Lines};
use crate::text;

/// The answer that gives up what is being asked: no name, address or number starts with it.
pub(super) const BACK: &str = "<";
/// Longest part of a wrong answer that is repeated, in columns.
const FOUND_WIDTH_MAX: usize = 40;
/// Width of a choice where several stand on a line.
const CHOICE_WIDTH: usize = 24;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Stop {
    /// There will be no more input.
    End,
    /// The person gave up what was being asked.
    Back,
    /// The output cannot be written.
    Out(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Out(error)
    }
}

/// An answer, or why there is none.
pub(super) type Answer<T> = Result<T, Stop>;

/// Who makes a typed answer visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    /// The terminal that it was typed on.
    Terminal,
    /// This module: piped answers show up where typed ones would.
    Here,
}

impl Echo {
    /// As stdin needs it.
    pub fn of_stdin() -> Echo {
        match io::stdin().is_terminal() {
            true => Echo::Terminal,
            false => Echo::Here,
        }
    }
}

/// A yes or a no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Yes,
    No,
}

/// A choice of a menu: its key, what it says, and what it stands for.
pub(super) type Choice<T> = (&'static str, &'static str, T);

/// The two directions of a conversation.
pub(super) struct Talk<'a> {
    pub lines: &'a Lines,
    pub out: &'a mut dyn Write,
    pub echo: Echo,
}

impl Talk<'_> {
    /// Says one line.
    pub fn say(&mut self, line: &str) -> Answer<()> {
        Ok(writeln!(self.out, "{}", text::escape(line))?)
    }

    /// Says several things below each other, indented.
    pub fn list(&mut self, lines: &[String]) -> Answer<()> {
        lines
            .iter()
            .try_for_each(|line| self.say(&format!("  {line}")))
    }

    /// Shows lines that are safe to print already.
    pub fn show(&mut self, lines: &str) -> Answer<()> {
        Ok(self.out.write_all(lines.as_bytes())?)
    }

    /// Asks until `check` takes the answer. Enter alone takes the default's value; its
    /// text is shown in brackets unless it is empty. Without a default, `check` is asked.
    pub fn ask<T: Clone>(
        &mut self,
        prompt: &str,
        default: Option<(String, T)>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Answer<T> {
        let shown = match &default {
            Some((text, _)) if !text.is_empty() => format!("{prompt} [{text}]: "),
            _ if prompt == ">" => "> ".to_string(),
            _ => format!("{prompt}: "),
        };
        loop {
            let line = self.line(&shown)?;
            let answer = line.trim();
            if answer == BACK {
                return Err(Stop::Back);
            }
            if let ("", Some((_, value))) = (answer, &default) {
                return Ok(value.clone());
            }
            match check(answer) {
                Ok(value) => return Ok(value),
                Err(reason) => self.say(&format!("  {}", wrong(&reason, answer)))?,
            }
        }
    }

    /// Asks for a yes or a no.
    pub fn confirm(&mut self, question: &str, default: Reply) -> Answer<Reply> {
        let shown = match default {
            Reply::Yes => "y",
            Reply::No => "n",
        };
        let default = Some((shown.to_string(), default));
        self.ask(question, default, |text| match text {
            "y" | "Y" | "yes" => Ok(Reply::Yes),
            "n" | "N" | "no" => Ok(Reply::No),
            _ => Err("expected y or n".to_string()),
        })
    }

    /// Shows choices, `per_line` to a line, and asks for one. Enter alone means `enter`.
    pub fn choose<T: Copy>(
        &mut self,
        choices: &[Choice<T>],
        per_line: usize,
        enter: T,
    ) -> Answer<T> {
        self.show(&menu(choices, per_line))?;
        let keys: Vec<&str> = choices.iter().map(|(key, ..)| *key).collect();
        self.ask(">", Some((String::new(), enter)), |text| {
            let found = choices.iter().find(|(key, ..)| *key == text);
            let expected = || format!("expected one of {}", keys.join(" "));
            found.map(|(.., value)| *value).ok_or_else(expected)
        })
    }

    fn line(&mut self, prompt: &str) -> Answer<String> {
        write!(self.out, "{}", text::escape(prompt))?;
        self.out.flush()?;
        match self.lines.recv() {
            Input::Line(line) => {
                if self.echo == Echo::Here {
                    self.say(&line)?;
                }
                Ok(line)
            }
            Input::End | Input::Nothing => {
                // What comes next must not stand behind the prompt.
                writeln!(self.out)?;
                Err(Stop::End)
            }
        }
    }
}

/// The reason, with what was found where the reason says what was expected.
fn wrong(reason: &str, found: &str) -> String {
    if found.is_empty() || !reason.starts_with("expected") {
        return reason.to_string();
    }
    let found = text::fit(&text::escape(found), FOUND_WIDTH_MAX);
    format!("{reason}, found \"{}\"", found.trim_end())
}

fn menu<T>(choices: &[Choice<T>], per_line: usize) -> String {
    let mut out = String::new();
    for line in choices.chunks(per_line) {
        let cells = line.iter().map(|(key, text, _)| {
            let cell = format!("  {key}  {text}");
            text::fit(&cell, CHOICE_WIDTH.max(text::width(&cell)))
        });
        let cells: String = cells.collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", cells.trim_end());
    }
    out
}
