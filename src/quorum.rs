//! What a target is, out of what each of its agents says: how many have to see it down
//! for it to be down. Agents that can't tell (nothing seen yet, too long ago, or no way
//! there) have no say. And in which order to ask: what a target is reached through first.

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

/// The numbers below `count` so that each comes after its parents. A circle, which no fleet
/// file may have, ends up in some order.
pub fn parents_first<'p>(count: usize, parents: impl Fn(usize) -> &'p [usize]) -> Vec<usize> {
    let mut order = Vec::with_capacity(count);
    let mut found = vec![false; count];
    for start in 0..count {
        // Not by recursion: the longest way is as long as there are targets.
        let mut way = Vec::new();
        let mut next = Some(start);
        loop {
            if let Some(child) = next.filter(|&n| !std::mem::replace(&mut found[n], true)) {
                way.push((child, parents(child).iter()));
            }
            let Some((child, parents)) = way.last_mut() else {
                break;
            };
            next = parents.next().copied();
            if next.is_none() {
                order.push(*child);
                way.pop();
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_after_its_parents() {
        let order = |parents: &[Vec<usize>]| parents_first(parents.len(), |n| &parents[n]);
        assert_eq!(order(&[]), []);
        assert_eq!(order(&[vec![], vec![], vec![]]), [0, 1, 2]);
        assert_eq!(order(&[vec![2], vec![], vec![1]]), [1, 2, 0]);
        assert_eq!(order(&[vec![3, 1], vec![2], vec![], vec![2]]), [2, 3, 1, 0]);
        // A circle.
        assert_eq!(order(&[vec![1], vec![2], vec![0]]), [2, 1, 0]);
        // As long a way as a fleet file can hold.
        let mut chain: Vec<Vec<usize>> = (1..100_000).map(|parent| vec![parent]).collect();
        chain.push(vec![]);
        assert!(order(&chain).into_iter().eq((0..100_000).rev()));
    }

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
