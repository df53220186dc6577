//! Text from outside made fit for a terminal or a log: nothing in it can move the
//! cursor, change colours, start a line or turn the reading direction; the same for HTML and CSV;
//! text cut or padded to columns; and likely spellings. JSON escapes for itself.

use std::borrow::Cow;
use std::fmt::Write;

/// Longest word for which a similar spelling is looked for, in bytes.
const HINT_LEN_MAX: usize = 40;

/// Characters that take no column of their own: combining marks, joiners, selectors.
/// In rising order, as [`WIDE`].
const COMBINING: [(u32, u32); 26] = [
    (0x0300, 0x036f),
    (0x0483, 0x0489),
    (0x0591, 0x05bd),
    (0x05bf, 0x05c7),
    (0x0610, 0x061a),
    (0x064b, 0x065f),
    (0x0670, 0x0670),
    (0x06d6, 0x06dc),
    (0x06df, 0x06e4),
    (0x06e7, 0x06e8),
    (0x06ea, 0x06ed),
    (0x0900, 0x0902),
    (0x093a, 0x093a),
    (0x093c, 0x093c),
    (0x0941, 0x0948),
    (0x094d, 0x094d),
    (0x0e31, 0x0e31),
    (0x0e34, 0x0e3a),
    (0x0e47, 0x0e4e),
    (0x1ab0, 0x1aff),
    (0x1dc0, 0x1dff),
    (0x200b, 0x200d),
    (0x20d0, 0x20ff),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe2f),
    (0xe0100, 0xe01ef),
];

/// Characters that take two columns: East Asian wide and full width, emoji.
const WIDE: [(u32, u32); 30] = [
    (0x1100, 0x115f),
    (0x231a, 0x231b),
    (0x2329, 0x232a),
    (0x23e9, 0x23ec),
    (0x23f0, 0x23f0),
    (0x23f3, 0x23f3),
    (0x25fd, 0x25fe),
    (0x2614, 0x2615),
    (0x2648, 0x2653),
    (0x26a1, 0x26a1),
    (0x26d4, 0x26d4),
    (0x2705, 0x2705),
    (0x274c, 0x274c),
    (0x2753, 0x2757),
    (0x2e80, 0x303e),
    (0x3041, 0x33ff),
    (0x3400, 0x4dbf),
    (0x4e00, 0x9fff),
    (0xa000, 0xa4cf),
    (0xa960, 0xa97f),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
    (0xfe30, 0xfe6f),
    (0xff00, 0xff60),
    (0xffe0, 0xffe6),
    (0x1f300, 0x1f64f),
    (0x1f680, 0x1f6ff),
    (0x1f900, 0x1f9ff),
    (0x1fa70, 0x1faff),
    (0x20000, 0x3fffd),
];

/// `text` with every character that could disturb a terminal or a log line written
/// as `\xHH` or, above U+00FF, `\u{HHHH}`: control characters (ESC, DEL and C1 too),
/// bidirectional marks, line and paragraph separators, the byte order mark.
/// A backslash stays as it is: this is for reading, not for undoing.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(disturbs) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        // Writing to a String cannot fail.
        let _ = match u32::from(char) {
            _ if !disturbs(char) => out.write_char(char),
            code @ 0..=0xff => write!(out, "\\x{code:02x}"),
            code => write!(out, "\\u{{{code:04x}}}"),
        };
    }
    Cow::Owned(out)
}

fn disturbs(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// `text` as it may stand in HTML, XML and their attributes, what disturbs escaped as
/// [`escape`] does.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for char in escape(text).chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char => out.push(char),
        }
    }
    out
}

/// `text` as a value among others in CSV (RFC 4180), what disturbs escaped as [`escape`]
/// does.
pub fn csv(text: &str) -> String {
    let text = escape(text);
    match text.contains(['"', ',']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.into_owned(),
    }
}

/// How many terminal columns `text` takes. It must be escaped already: a control
/// character counts as one column.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// `text` in exactly `columns` columns: padded with spaces on the right, or cut with
/// an ellipsis at the end. It must be escaped already.
pub fn fit(text: &str, columns: usize) -> String {
    let whole = width(text);
    if whole <= columns {
        return text.to_string() + &" ".repeat(columns - whole);
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    let mut out = String::with_capacity(columns + 4);
    let mut used = 0;
    for char in text.chars() {
        if used + char_width(char) > room {
            break;
        }
        used += char_width(char);
        out.push(char);
    }
    out.push('…');
    // A wide character that did not fit leaves one column open.
    out + &" ".repeat(room - used)
}

fn char_width(char: char) -> usize {
    let code = u32::from(char);
    if code < COMBINING[0].0 {
        1
    } else if within(&COMBINING, code) {
        0
    } else if within(&WIDE, code) {
        2
    } else {
        1
    }
}

fn within(table: &[(u32, u32)], code: u32) -> bool {
    let at = table.partition_point(|&(_, last)| last < code);
    table.get(at).is_some_and(|&(first, _)| first <= code)
}

/// The candidate that `word` is most likely a misspelling of.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > HINT_LEN_MAX {
        return None;
    }
    let far_max = if word.len() > 4 { 2 } else { 1 };
    candidates
        .filter(|name| name.len() <= HINT_LEN_MAX)
        .map(|name| {
            (
                distance(&word.to_ascii_lowercase(), &name.to_ascii_lowercase()),
                name,
            )
        })
        .filter(|(far, _)| *far <= far_max)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// How many bytes must be inserted, removed or changed to get from `a` to `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// At most the first `max` bytes of a text, cut between characters.
pub fn cut(text: &str, max: usize) -> &str {
    let fits = |at: &usize| text.is_char_boundary(*at);
    let end = (0..=max.min(text.len())).rev().find(fits);
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        let text = "<b a='1' c=\"2\">&\u{1b}\u{202e}é</b>";
        let shown = "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;\\x1b\\u{202e}é&lt;/b&gt;";
        assert_eq!(html(text), shown);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let text = "é".repeat(200);
        for (max, len) in [(0, 0), (1, 0), (2, 2), (301, 300), (400, 400), (999, 400)] {
            assert_eq!(cut(&text, max).len(), len, "{max}");
        }
    }

    #[test]
    fn what_could_disturb_is_written_out() {
        for (text, expected) in [
            ("plain é 水 😀 \\ \"", "plain é 水 😀 \\ \""),
            ("a\nb\r\tc\0", "a\\x0ab\\x0d\\x09c\\x00"),
            (
                "\u{1b}[31mred\u{1b}]0;title\u{7}",
                "\\x1b[31mred\\x1b]0;title\\x07",
            ),
            (
                "\u{7f}\u{80}\u{9b}\u{9f}\u{a0}",
                "\\x7f\\x80\\x9b\\x9f\u{a0}",
            ),
            ("\u{61c}\u{200e}\u{200f}", "\\u{061c}\\u{200e}\\u{200f}"),
            ("\u{2028}\u{2029}\u{feff}", "\\u{2028}\\u{2029}\\u{feff}"),
            (
                "\u{2027}\u{202f}\u{2065}\u{206a}",
                "\u{2027}\u{202f}\u{2065}\u{206a}",
            ),
        ] {
            assert_eq!(escape(text), expected);
        }
        for char in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
            let escaped = escape(char.encode_utf8(&mut [0; 4])).into_owned();
            assert_eq!(escaped, format!("\\u{{{:04x}}}", u32::from(char)));
        }
    }

    #[test]
    fn harmless_text_is_not_copied_and_escaped_text_stays() {
        assert!(matches!(escape("web-1 水"), Cow::Borrowed(_)));
        let once = escape("\u{1b}\u{202e}").into_owned();
        assert_eq!(escape(&once), once);
    }

    #[test]
    fn widths_are_terminal_columns() {
        for (text, expected) in [
            ("", 0),
            ("abc", 3),
            ("é", 1),
            ("e\u{301}", 1),
            ("水曜", 4),
            ("한글", 4),
            ("ｆｕｌｌ", 8),
            ("ﾊﾝｶｸ", 4),
            ("😀", 2),
            ("…µ▁█●─", 6),
            ("a\u{200b}b\u{fe0f}", 2),
            ("\u{e0100}", 0),
        ] {
            assert_eq!(width(text), expected, "{text:?}");
        }
    }

    #[test]
    fn tables_are_in_order() {
        for table in [&COMBINING[..], &WIDE[..]] {
            assert!(table.iter().all(|(first, last)| first <= last));
            assert!(table.windows(2).all(|w| w[0].1 < w[1].0));
        }
    }

    #[test]
    fn fitting_pads_or_cuts_to_the_column() {
        for (text, columns, expected) in [
            ("abc", 5, "abc  "),
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("abcd", 1, "…"),
            ("abcd", 0, ""),
            ("", 0, ""),
            ("", 2, "  "),
            ("水曜日", 6, "水曜日"),
            ("水曜日", 5, "水曜…"),
            ("水曜日", 4, "水… "),
            ("水曜日", 1, "…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
        ] {
            let fitted = fit(text, columns);
            assert_eq!(fitted, expected);
            assert_eq!(width(&fitted), columns, "{text}");
        }
    }
}
