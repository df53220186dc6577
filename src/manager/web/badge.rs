//! A target's state as a small picture, to be shown elsewhere.

use super::{View, not_found};
use crate::http::reply::{Reply, SVG};
use crate::manager::board::State;
use crate::text::html;

/// What a letter takes, and what stands on either side of a text.
const LETTER: usize = 7;
const MARGIN: usize = 6;

/// The badge of a target.
pub fn badge(view: &View, name: &str) -> Reply {
    let targets = view.targets();
    match targets.iter().find(|(row, _)| row.name.as_str() == name) {
        None => not_found(),
        Some((row, _)) => Reply::new(SVG, picture(name, row.state))
            .tagged()
            .with("Cross-Origin-Resource-Policy", "cross-origin"),
    }
}

fn picture(name: &str, state: State) -> String {
    // White on each of them has a contrast of 4.5 or more.
    let colour = match state {
        State::Up => "#1a7f37",
        State::Slow => "#8a5a00",
        State::Down => "#c4271c",
        State::Unreachable => "#9a3412",
        State::Stale | State::Unknown => "#57606a",
    };
    let (name, state) = (html(name), state.as_str());
    let left = name.len() * LETTER + 2 * MARGIN;
    let right = state.len() * LETTER + 2 * MARGIN;
    let whole = left + right;
    let (name_at, state_at) = (left / 2, left + right / 2);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole}\" height=\"20\" role=\"img\" aria-label=\"{name}: {state}\"><title>{name}: {state}</title><rect width=\"{whole}\" height=\"20\" rx=\"3\" fill=\"#333\"/><path d=\"M{left} 0h{}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left}z\" fill=\"{colour}\"/><g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\" text-anchor=\"middle\"><text x=\"{name_at}\" y=\"14\">{name}</text><text x=\"{state_at}\" y=\"14\">{state}</text></g></svg>\n",
        right - 3,
    )
}
