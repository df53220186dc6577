//! What a target is, out of what each of its agents says: how many have to see it down
//! for it to be down. Agents that can't tell (nothing seen yet, too long ago, or no way
//! there) have no say.

use crate::health::State;
use crate::model::DownWhen;

/// The verdict on a target out of its agents' states.
pub fn verdict(rule: DownWhen, states: impl Iterator<Item = State>) -> State {
    let (mut up, mut slow, mut down, mut stale, mut behind, mut all) = (0, 0, 0, 0, 0, 0);
    for state in states {
        all += 1;
        match state {
            State::Down => down += 1,
            State::Up => up += 1,
            State::Slow => slow += 1,
            State::Stale => stale += 1,
            State::Unreachable => behind += 1,
            State::Unknown => {}
        }
    }
    let answers = up + slow;
    let is_down = match rule {
        DownWhen::All => down > 0 && answers == 0,
        DownWhen::Majority => down > answers,
        DownWhen::Any => down > 0,
        // There may be fewer agents than that for this target.
        DownWhen::AtLeast(count) => down > 0 && down >= count.min(all),
    };
    match (is_down, answers, down) {
        (true, ..) => State::Down,
        (_, 1.., _) if slow > up => State::Slow,
        (_, 1.., _) => State::Up,
        // Too few see it down, and nobody sees it answer.
        (_, 0, 1..) => State::Unknown,
        _ if behind > 0 => State::Unreachable,
        _ if stale > 0 => State::Stale,
        _ => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `d` down, `u` up, `s` slow, `o` too old, `b` behind something down, `?` never seen.
    fn states(text: &str) -> impl Iterator<Item = State> {
        text.chars().map(|c| match c {
            'd' => State::Down,
            'u' => State::Up,
            's' => State::Slow,
            'o' => State::Stale,
            'b' => State::Unreachable,
            _ => State::Unknown,
        })
    }

    #[test]
    fn each_rule_needs_its_number_of_agents() {
        use DownWhen::{All, Any, AtLeast, Majority};
        for (seen, all, majority, any, two) in [
            ("", "?", "?", "?", "?"),
            ("?", "?", "?", "?", "?"),
            ("o?", "o", "o", "o", "o"),
            ("u", "u", "u", "u", "u"),
            ("d", "d", "d", "d", "d"),
            ("d?", "d", "d", "d", "?"),
            ("du", "u", "u", "d", "u"),
            ("ddu", "u", "d", "d", "d"),
            ("duu", "u", "u", "d", "u"),
            ("ddd", "d", "d", "d", "d"),
            ("dds", "s", "d", "d", "d"),
            ("dss", "s", "s", "d", "s"),
            ("ssu", "s", "s", "s", "s"),
            ("su", "u", "u", "u", "u"),
            ("ddsu", "u", "u", "d", "d"),
            // Who can't tell has no say.
            ("doo?", "d", "d", "d", "?"),
            ("dduoo", "u", "d", "d", "d"),
            ("uoo", "u", "u", "u", "u"),
            ("b", "b", "b", "b", "b"),
            ("bo?", "b", "b", "b", "b"),
            ("bbu", "u", "u", "u", "u"),
            ("bd", "d", "d", "d", "?"),
        ] {
            let rules = [
                (All, all),
                (Majority, majority),
                (Any, any),
                (AtLeast(2), two),
            ];
            for (rule, expected) in rules {
                let expected = states(expected).next();
                let found = verdict(rule, states(seen));
                assert_eq!(Some(found), expected, "{seen:?} {rule:?}");
            }
        }
    }
}
