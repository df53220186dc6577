//! Where in a fleet file a value stands, for problems that show only outside the text,
//! such as a key file that is not there. Paths are those that problems have.

use super::fields::{Path, Problem, Problems, without_mark};
use crate::json::{self, Value, line_column};

/// Line and column, both from 1, of the value at a path such as `agents[1].key_file`;
/// `None` when there is none. It reads the whole text: for several places at once there
/// is [`problems_at`].
pub fn place(text: &[u8], path: &str) -> Option<(usize, usize)> {
    let text = without_mark(text);
    let root = json::parse(text).ok()?;
    let value = find(&root, path)?;
    Some(line_column(text, value.at))
}

/// Problems, each given by its path and its text (lower case, no final dot, safe to
/// print), with their positions, in the order of the text and limited as those of
/// [`super::parse_fleet`]. One whose path is not there stands at the first character.
pub fn problems_at(text: &[u8], found: &[(String, String)]) -> Vec<Problem> {
    let text = without_mark(text);
    let root = json::parse(text).ok();
    let mut problems = Problems::default();
    for (path, what) in found {
        let value = root.as_ref().and_then(|root| find(root, path));
        let at = value.map_or(0, |value| value.at);
        problems.add(at, &Path::Key(&Path::Root, path), || what.clone());
    }
    problems.verdict(text, ()).err().unwrap_or_default()
}

fn find<'v, 'a>(root: &'v Value<'a>, path: &str) -> Option<&'v Value<'a>> {
    path.split('.').try_fold(root, |value, part| {
        let mut pieces = part.split('[');
        let value = value.get(pieces.next()?)?;
        pieces.try_fold(value, |value, piece| {
            let index: usize = piece.strip_suffix(']')?.parse().ok()?;
            value.array()?.get(index)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n  \"defaults\": { \"key_file\": \"é\" }, \"agents\": [ {},\n\
        { \"key_file\": \"a\", \"list\": [[1, 2], [3, 4]] } ]\n}";

    #[test]
    fn values_are_found_by_their_paths() {
        for (path, want) in [
            ("defaults", Some((2, 15))),
            ("defaults.key_file", Some((2, 29))),
            ("agents", Some((2, 46))),
            ("agents[0]", Some((2, 48))),
            ("agents[1].key_file", Some((3, 15))),
            ("agents[1].list[1][0]", Some((3, 38))),
            ("agents[0].key_file", None),
            ("agents[2]", None),
            ("agents[1", None),
            ("agents[]", None),
            ("agents[x]", None),
            ("defaults[0]", None),
            ("defaults.", None),
            ("key_file", None),
            ("", None),
        ] {
            assert_eq!(place(TEXT.as_bytes(), path), want, "{path}");
            let marked = format!("\u{feff}{TEXT}");
            assert_eq!(place(marked.as_bytes(), path), want, "{path}");
        }
        assert_eq!(place(b"{", "agents"), None);
    }

    #[test]
    fn problems_found_elsewhere_get_their_positions() {
        let found = |path: &str| (path.to_string(), format!("no {path}"));
        let found = [found("agents[1].key_file"), found("defaults.key_file")];
        let got = problems_at(TEXT.as_bytes(), &found);
        let got: Vec<String> = got.iter().map(Problem::to_string).collect();
        let want = [
            "2:29: defaults.key_file: no defaults.key_file",
            "3:15: agents[1].key_file: no agents[1].key_file",
        ];
        assert_eq!(got, want);
        assert_eq!(problems_at(TEXT.as_bytes(), &[]), []);
        let lost = ("agents[7]".to_string(), "gone".to_string());
        let got = problems_at(TEXT.as_bytes(), &[lost]);
        assert_eq!(got[0].to_string(), "1:1: agents[7]: gone");
    }
}
