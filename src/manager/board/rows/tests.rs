//! Scripts: which rows there are while addresses come and go.

use super::*;
use crate::manager::board::Link;
use crate::model::Epoch;
use crate::model::{Failure, Rules, Sample, Target, Terms, Why};
use crate::record::{Body, Record};
use std::time::Duration;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(second: u64) -> Wall {
    Wall(1_000_000_000 + second * 1000)
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn watched(address: &str, each_address: bool) -> Watched {
    named("web", address, each_address)
}

fn named(target: &str, address: &str, each_address: bool) -> Watched {
    Watched {
        target: Target::new(
            name(target),
            address.parse().unwrap(),
            Terms {
                retries: 1,
                each_address,
                ..Terms::every(Duration::from_secs(10), Duration::from_secs(3))
            },
        ),
        rules: Rules::default(),
    }
}

struct Play {
    board: Board,
    seq: u64,
}

impl Play {
    fn new() -> Play {
        let mut board = Board::new();
        board.set_fleet(&[(name("a"), vec![watched("www.example.org:443", true)])]);
        board.now_begin(&name("a"), Epoch(1), 0);
        let connected = true;
        let link = Link {
            connected,
            ..Link::default()
        };
        board.set_link(&name("a"), link, at(0));
        Play { board, seq: 0 }
    }

    fn take(&mut self, second: u64, body: Body) {
        self.seq += 1;
        let record = Record {
            seq: self.seq,
            at: at(second),
            body,
        };
        self.board.record(&name("a"), Epoch(1), &record, at(second));
        self.board.settle(at(second), |_, _| None);
    }

    fn result(&mut self, second: u64, each: Option<u8>, ok: bool) {
        self.result_of("web", second, each, ok);
    }

    fn result_of(&mut self, target: &str, second: u64, each: Option<u8>, ok: bool) {
        let failure = Failure {
            why: Why::Timeout,
            text: "timed out".to_string(),
        };
        self.take(
            second,
            Body::Result(Sample {
                target: name(target),
                at: at(second),
                us: 1_000,
                failure: (!ok).then_some(failure),
                tries: 1,
                late_us: 0,
                addr: None,
                each: each.map(ip),
                dns_stale: false,
                phases: Default::default(),
                retransmit: false,
            }),
        );
    }

    fn ended(&mut self, second: u64, each: u8) {
        let (target, each) = (name("web"), Some(ip(each)));
        self.take(second, Body::Ended { target, each });
    }

    /// `address state` of each row.
    fn rows(&self, second: u64) -> Vec<String> {
        let mut rows = self.board.snapshot(at(second)).rows;
        rows.sort_by_key(|row| row.address.to_string());
        let shown = rows.iter().map(|r| format!("{} {}", r.address, r.state));
        shown.collect()
    }

    fn told(&self) -> Vec<String> {
        let events = self.board.drain_events(0);
        let of_target = events.iter().filter(|e| e.target.is_some());
        of_target.map(|e| e.text.clone()).collect()
    }
}

#[test]
fn addresses_take_the_place_of_their_name() {
    let mut play = Play::new();
    assert_eq!(play.rows(0), ["www.example.org:443 unknown"]);
    play.result(1, None, false);
    assert_eq!(play.rows(1), ["www.example.org:443 unknown"]);
    play.result(2, Some(8), true);
    play.result(3, Some(7), true);
    assert_eq!(play.rows(3), ["192.0.2.7:443 up", "192.0.2.8:443 up"]);
    // What the name says meanwhile is not heard, until nothing is known of its addresses.
    play.result(4, None, false);
    assert_eq!(play.rows(4).len(), 2);
    play.result(90, None, false);
    assert_eq!(
        play.rows(90),
        [
            "192.0.2.7:443 stale",
            "192.0.2.8:443 stale",
            "www.example.org:443 unknown"
        ]
    );
    play.result(91, Some(7), true);
    assert_eq!(play.rows(91), ["192.0.2.7:443 up", "192.0.2.8:443 stale"]);
}

#[test]
fn addresses_that_are_gone_go() {
    let mut play = Play::new();
    play.result(1, Some(7), true);
    play.result(2, Some(8), true);
    play.ended(3, 9);
    play.ended(3, 7);
    assert_eq!(play.rows(3), ["192.0.2.8:443 up"]);
    // An end from before what is known is none.
    play.ended(1, 8);
    assert_eq!(play.rows(3), ["192.0.2.8:443 up"]);
    play.ended(4, 8);
    assert_eq!(play.rows(4), ["www.example.org:443 unknown"]);
}

#[test]
fn an_address_that_comes_back_at_once_is_a_new_row() {
    let mut play = Play::new();
    for second in [1, 2, 3] {
        play.result(second, Some(7), false);
    }
    let body = Body::Ended {
        target: name("web"),
        each: Some(ip(7)),
    };
    let record = Record {
        seq: 10,
        at: at(4),
        body,
    };
    play.board.record(&name("a"), Epoch(1), &record, at(4));
    play.seq = 10;
    play.result(5, Some(7), true);
    assert_eq!(play.rows(5), ["192.0.2.7:443 up"]);
}

#[test]
fn each_address_has_its_say() {
    let mut play = Play::new();
    for second in [10, 20, 30] {
        play.result(second, Some(7), true);
        play.result(second + 1, Some(8), false);
        play.result(second + 2, Some(9), false);
    }
    assert_eq!(
        play.told(),
        ["web down from a at 192.0.2.8, a at 192.0.2.9 (2 of 3): timed out"]
    );
    let snapshot = play.board.snapshot(at(33));
    let targets = snapshot.targets();
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].address.to_string(), "www.example.org:443");
    assert_eq!(
        (targets[0].state, targets[0].agents.len()),
        (State::Down, 3)
    );
}

#[test]
fn a_parent_is_down_when_all_its_addresses_are() {
    for (other, state) in [(true, State::Down), (false, State::Unreachable)] {
        let mut play = Play::new();
        let web = watched("www.example.org:443", true);
        let fleet = [(name("a"), vec![named("db", "10.0.0.7:5432", false), web])];
        play.board.set_fleet(&fleet);
        play.board.set_parents(&name("db"), &[name("web")]);
        play.board.set_order();
        for second in [10, 20, 30] {
            play.result(second, Some(7), false);
            play.result(second, Some(8), other);
            play.result_of("db", second, None, false);
        }
        let rows = play.board.snapshot(at(31)).rows;
        let db = rows.iter().find(|row| row.target == name("db"));
        assert_eq!(db.unwrap().state, state, "{other}");
    }
}

#[test]
fn only_so_many_addresses_have_rows_and_only_where_they_are_wanted() {
    let mut play = Play::new();
    for last in 0..=ADDRESSES_MAX as u8 {
        play.result(1, Some(last), true);
    }
    assert_eq!(play.rows(1).len(), ADDRESSES_MAX);
    let fleet = |address, each| [(name("a"), vec![watched(address, each)])];
    // They stay over a change of the fleet, unless the name changes or they are not wanted.
    play.board.set_fleet(&fleet("www.example.org:443", true));
    assert_eq!(play.rows(2).len(), ADDRESSES_MAX);
    play.board.set_fleet(&fleet("www.example.net:443", true));
    assert_eq!(play.rows(2), ["www.example.net:443 unknown"]);
    play.result(3, Some(7), true);
    play.board.set_fleet(&fleet("www.example.net:443", false));
    assert_eq!(play.rows(3), ["www.example.net:443 unknown"]);
    play.result(4, Some(7), true);
    assert_eq!(play.rows(4), ["www.example.net:443 unknown"]);
}

#[test]
fn what_is_known_of_addresses_comes_back() {
    let mut play = Play::new();
    for second in [10, 20, 30] {
        play.result(second, Some(7), false);
        play.result(second, Some(8), true);
    }
    let known = play.board.known(&name("a"));
    let each: Vec<_> = known.iter().map(|k| k.each).collect();
    assert_eq!(each, [Some(ip(7)), Some(ip(8))]);
    let mut again = Play::new();
    for state in &known {
        again.board.restore(&name("a"), state, at(40));
    }
    again.board.settle(at(40), |_, _| None);
    assert_eq!(
        again.rows(40),
        ["192.0.2.7:443 stale", "192.0.2.8:443 stale"]
    );
    again.result(41, Some(7), false);
    assert_eq!(
        again.rows(41),
        ["192.0.2.7:443 down", "192.0.2.8:443 stale"]
    );
}
