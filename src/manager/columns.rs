//! Plain tables of words and numbers for the commands that print and end: words to the
//! left, numbers to the right, columns two spaces apart, no space at the end of a line.

use crate::text;

/// A table as wide as it needs to be, each line behind `indent` spaces. The first `words`
/// columns are aligned to the left. Cells may hold text from outside: they are escaped.
pub fn table<const N: usize>(
    indent: usize,
    words: usize,
    titles: [&str; N],
    rows: &[[String; N]],
) -> String {
    let escape = |row: &[String; N]| row.each_ref().map(|c| text::escape(c).into_owned());
    let mut lines = vec![titles.map(str::to_string)];
    lines.extend(rows.iter().map(escape));
    let width = |i: usize| lines.iter().map(|l| text::width(&l[i])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let mut row = " ".repeat(indent);
        for (i, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let space = " ".repeat(width - text::width(cell));
            if i > 0 {
                row += "  ";
            }
            row += &match i < words {
                true => format!("{cell}{space}"),
                false => format!("{space}{cell}"),
            };
        }
        out += row.trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_left_and_numbers_right() {
        let row = |a: &str, b: &str, c: &str| [a, b, c].map(str::to_string);
        let rows = [row("web", "1", "12ms"), row("漢\u{1b}", "1,234", "850µs")];
        let expected = concat!(
            " NAME    COUNT   LAST\n",
            " web         1   12ms\n",
            " 漢\\x1b  1,234  850µs\n",
        );
        assert_eq!(table(1, 1, ["NAME", "COUNT", "LAST"], &rows), expected);
    }
}
