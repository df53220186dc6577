//! Scripts: what is so at which second, and what the receiver is told of it.

use std::collections::BTreeMap;

use super::*;
use crate::alert::{Form, Way};
use crate::manager::quiet::Cause;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(second: u64) -> Wall {
    Wall(1_000_000_000 + second * 1000)
}

fn target(text: &str) -> Subject {
    Subject::Target(name(text))
}

fn rule() -> AlertRule {
    AlertRule {
        name: name("ops"),
        on: On::ALL.to_vec(),
        targets: vec!["*".parse().unwrap()],
        way: Way::Webhook {
            url: "http://127.0.0.1:9/".parse().unwrap(),
            body: Form::Json,
        },
        timeout: Duration::from_secs(30),
        repeat: None,
        group_wait: Duration::from_secs(10),
        late: false,
    }
}

/// What is so; what is not named is fine.
#[derive(Default)]
struct World(BTreeMap<Subject, Option<Fact>>);

impl World {
    fn set(&mut self, subject: Subject, condition: Condition, second: u64) {
        let fact = Fact {
            condition,
            since: at(second),
            quiet: None,
        };
        self.0.insert(subject, Some(fact));
    }

    fn quiet(&mut self, subject: &Subject, quiet: Option<Cause>) {
        if let Some(Some(fact)) = self.0.get_mut(subject) {
            fact.quiet = quiet;
        }
    }
}

impl Facts for World {
    fn fact(&self, subject: &Subject) -> Option<Fact> {
        let fine = Fact {
            condition: Condition::Fine,
            since: at(0),
            quiet: None,
        };
        self.0.get(subject).copied().unwrap_or(Some(fine))
    }

    fn unwell(&self) -> Vec<Subject> {
        let unwell = |fact: &&Fact| fact.condition != Condition::Fine;
        let facts = self.0.iter();
        let unwell = facts.filter(|(_, fact)| fact.as_ref().filter(unwell).is_some());
        unwell.map(|(subject, _)| subject.clone()).collect()
    }

    fn event(&self, subject: &Subject, was: (Condition, Wall), is: Fact) -> AlertEvent {
        event(subject, was, is)
    }
}

fn event(subject: &Subject, was: (Condition, Wall), is: Fact) -> AlertEvent {
    AlertEvent {
        on: is.condition.on(was.0, subject),
        subject: subject.clone(),
        address: None,
        state: is.condition.word(subject).to_string(),
        was: was.0.word(subject).to_string(),
        since: is.since,
        lasted: Some(Duration::from_millis(is.since.0.saturating_sub(was.1.0))),
        why: None,
        text: "the story".to_string(),
        voices: Vec::new(),
    }
}

impl Receiver {
    /// What the receiver is told when it looks at this second: `db down<up`, what each
    /// message tells between brackets, with `again` for reminders.
    fn look(&mut self, world: &World, second: u64) -> Vec<String> {
        let before = self.numbered;
        let id = || format!("m{second}");
        self.observe(world, &name("host"), at(second), id);
        let told: Vec<String> = self
            .queue
            .iter()
            .filter(|q| q.no > before)
            .map(|q| shown(&q.message))
            .collect();
        told
    }
}

impl Receiver {
    /// What changed is on disk now; what that is.
    fn keep(&mut self) -> Option<String> {
        let (text, no) = self.to_keep()?;
        self.kept(no);
        Some(text)
    }
}

fn shown(message: &Message) -> String {
    let events = message.events.iter().map(|event| {
        let (Subject::Target(name) | Subject::Agent(name)) = &event.subject;
        format!("{name} {}<{}", event.state, event.was)
    });
    let events: Vec<String> = events.collect();
    let again = match message.occasion {
        Occasion::News => "",
        Occasion::Reminder => "again ",
        Occasion::Late => "late ",
        Occasion::Test => "test ",
    };
    again.to_string() + &events.join(", ")
}

use Condition::{Away, Down, Fine, Flapping, Gone, Slow};

#[test]
fn what_happens_within_the_wait_is_one_message() {
    let mut world = World::default();
    let mut ops = Receiver::new(rule());
    assert_eq!(ops.look(&world, 0), [""; 0]);
    world.set(target("db"), Down, 1);
    assert_eq!(ops.look(&world, 2), [""; 0]);
    world.set(target("web"), Slow, 3);
    world.set(Subject::Agent(name("attic")), Away, 5);
    assert_eq!(ops.look(&world, 11), [""; 0]);
    let told = ops.look(&world, 12);
    assert_eq!(told, ["db down<up, attic away<connected, web slow<up"]);
    assert_eq!(ops.look(&world, 13), [""; 0]);
    // The way back, too; how long it was so is in the event.
    world.set(target("db"), Fine, 31);
    ops.look(&world, 32);
    world.set(target("web"), Fine, 33);
    assert_eq!(ops.look(&world, 42), ["db up<down, web up<slow"]);
    let lasted = ops.queue[1].message.events[0].lasted;
    assert_eq!(lasted, Some(Duration::from_secs(30)));
    assert_eq!(ops.look(&world, 99), [""; 0]);
}

#[test]
fn what_is_over_before_the_wait_is_not_told() {
    let mut world = World::default();
    let mut ops = Receiver::new(rule());
    world.set(target("db"), Down, 1);
    ops.look(&world, 1);
    world.set(target("db"), Fine, 9);
    assert_eq!(ops.look(&world, 9), [""; 0]);
    // A new one waits anew.
    world.set(target("db"), Down, 10);
    assert_eq!(ops.look(&world, 12), [""; 0]);
    assert_eq!(ops.look(&world, 21), [""; 0]);
    assert_eq!(ops.look(&world, 22), ["db down<up"]);
}

#[test]
fn without_a_wait_it_is_told_at_once() {
    let mut world = World::default();
    let mut ops = Receiver::new(AlertRule {
        group_wait: Duration::ZERO,
        ..rule()
    });
    world.set(target("db"), Down, 1);
    assert_eq!(ops.look(&world, 1), ["db down<up"]);
}

#[test]
fn a_receiver_hears_of_what_it_asked_for() {
    let db = || target("db");
    let attic = || Subject::Agent(name("attic"));
    // What it asked for, and what it is told of each change in turn.
    let changes = [
        (db(), Slow),
        (db(), Down),
        (db(), Slow),
        (db(), Fine),
        (db(), Flapping),
        (db(), Fine),
        (attic(), Away),
        (attic(), Fine),
    ];
    for (on, expected) in [
        (
            On::ALL.to_vec(),
            [
                "db slow<up",
                "db down<slow",
                "db slow<down",
                "db up<slow",
                "db flapping<up",
                "db up<flapping",
                "attic away<connected",
                "attic connected<away",
            ],
        ),
        (vec![On::Down], ["", "db down<up", "", "", "", "", "", ""]),
        (
            vec![On::Down, On::Up],
            ["", "db down<up", "db up<down", "", "", "", "", ""],
        ),
        (vec![On::Up], ["", "", "db up<down", "", "", "", "", ""]),
        (
            vec![On::Agent],
            [
                "",
                "",
                "",
                "",
                "",
                "",
                "attic away<connected",
                "attic connected<away",
            ],
        ),
        (
            vec![On::Flapping],
            ["", "", "", "", "db flapping<up", "db up<flapping", "", ""],
        ),
    ] {
        let mut world = World::default();
        let mut ops = Receiver::new(AlertRule {
            on: on.clone(),
            group_wait: Duration::ZERO,
            ..rule()
        });
        for (second, ((subject, condition), expected)) in
            (1..).zip(changes.iter().cloned().zip(expected))
        {
            world.set(subject, condition, second);
            let told = ops.look(&world, second).join(" ");
            assert_eq!(told, expected, "{on:?} {condition:?}");
        }
    }
}

#[test]
fn who_does_not_hear_of_flapping_is_told_what_differs_when_it_is_over() {
    for (on, after, expected) in [
        (vec![On::Down, On::Up], Down, vec![]),
        (vec![On::Down, On::Up], Fine, vec!["db up<down"]),
        (On::ALL.to_vec(), Down, vec!["db down<flapping"]),
    ] {
        let mut world = World::default();
        let mut ops = Receiver::new(AlertRule {
            on,
            group_wait: Duration::ZERO,
            ..rule()
        });
        world.set(target("db"), Down, 1);
        assert_eq!(ops.look(&world, 1), ["db down<up"]);
        world.set(target("db"), Flapping, 2);
        ops.look(&world, 2);
        world.set(target("db"), after, 3);
        assert_eq!(ops.look(&world, 3), expected);
    }
}

#[test]
fn a_receiver_hears_of_its_targets_alone() {
    let mut world = World::default();
    let mut ops = Receiver::new(AlertRule {
        targets: vec!["db*".parse().unwrap()],
        group_wait: Duration::ZERO,
        ..rule()
    });
    for target_name in ["web", "db1", "a-db"] {
        world.set(target(target_name), Down, 1);
    }
    assert_eq!(ops.look(&world, 1), ["db1 down<up"]);
    // What it is not to hear of any more ends for it.
    ops.set_rule(AlertRule {
        targets: vec!["web".parse().unwrap()],
        ..ops.rule.clone()
    });
    assert_eq!(ops.look(&world, 2), ["web down<up, db1 gone<down"]);
    assert_eq!(ops.look(&world, 3), [""; 0]);
}

#[test]
fn what_is_quiet_or_unknown_is_told_when_that_is_over() {
    let db = target("db");
    for (meanwhile, after) in [(Down, vec!["db down<up"]), (Fine, vec![])] {
        let mut world = World::default();
        let mut ops = Receiver::new(AlertRule {
            group_wait: Duration::ZERO,
            ..rule()
        });
        world.set(db.clone(), Down, 1);
        world.quiet(&db, Some(Cause::Maintenance));
        assert_eq!(ops.look(&world, 1), [""; 0]);
        world.set(db.clone(), meanwhile, 2);
        assert_eq!(ops.look(&world, 3), after);
    }
    let mut world = World::default();
    let mut ops = Receiver::new(AlertRule {
        group_wait: Duration::ZERO,
        ..rule()
    });
    world.set(db.clone(), Down, 1);
    assert_eq!(ops.look(&world, 1), ["db down<up"]);
    world.0.insert(db.clone(), None);
    assert_eq!(ops.look(&world, 2), [""; 0]);
    world.set(db.clone(), Fine, 9);
    assert_eq!(ops.look(&world, 9), ["db up<down"]);
    // What left the fleet is told, if it was not fine.
    world.set(db.clone(), Down, 10);
    ops.look(&world, 10);
    world.set(db, Gone, 11);
    assert_eq!(ops.look(&world, 11), ["db gone<down"]);
    world.set(target("web"), Gone, 12);
    assert_eq!(ops.look(&world, 12), [""; 0]);
}

#[test]
fn what_lasts_is_told_again() {
    let mut world = World::default();
    let mut ops = Receiver::new(AlertRule {
        repeat: Some(Duration::from_secs(100)),
        group_wait: Duration::ZERO,
        ..rule()
    });
    world.set(target("db"), Down, 1);
    assert_eq!(ops.look(&world, 1), ["db down<up"]);
    world.set(target("web"), Down, 51);
    assert_eq!(ops.look(&world, 51), ["web down<up"]);
    assert_eq!(ops.look(&world, 100), [""; 0]);
    assert_eq!(ops.look(&world, 101), ["again db down<down"]);
    assert_eq!(ops.look(&world, 150), [""; 0]);
    // Not while nobody is to hear of it.
    world.quiet(&target("web"), Some(Cause::Silence));
    assert_eq!(ops.look(&world, 151), [""; 0]);
    world.quiet(&target("web"), None);
    world.set(target("db"), Fine, 200);
    assert_eq!(ops.look(&world, 200), ["db up<down"]);
    assert_eq!(ops.look(&world, 202), ["again web down<down"]);
    assert_eq!(ops.look(&world, 301), [""; 0]);
}

#[test]
fn late_news_goes_to_who_asked_for_it() {
    let fact = Fact {
        condition: Fine,
        since: at(1),
        quiet: None,
    };
    let late = event(&target("db"), (Down, at(0)), fact);
    for (late_too, on, pattern, wanted) in [
        (true, On::Down, "*", true),
        (false, On::Down, "*", false),
        (true, On::Slow, "*", false),
        (true, On::Down, "web", false),
    ] {
        let mut ops = Receiver::new(AlertRule {
            late: late_too,
            on: vec![on],
            targets: vec![pattern.parse().unwrap()],
            ..rule()
        });
        ops.late(
            std::slice::from_ref(&late),
            &name("host"),
            at(5),
            "x".into(),
        );
        assert_eq!(ops.to_keep().is_some(), wanted);
        let shown: Vec<_> = ops.queue.iter().map(|q| shown(&q.message)).collect();
        assert_eq!(shown.len(), usize::from(wanted));
        assert!(shown.iter().all(|text| text == "late db up<down"));
    }
}

/// A receiver with so many messages in its queue, of seconds 1, 2, …, on disk.
fn with_messages(count: u64) -> Receiver {
    let mut world = World::default();
    let mut ops = Receiver::new(AlertRule {
        group_wait: Duration::ZERO,
        ..rule()
    });
    for second in 1..=count {
        let condition = if second % 2 == 1 { Down } else { Fine };
        world.set(target("db"), condition, second);
        ops.look(&world, second);
    }
    ops
}

fn due(ops: &Receiver, second: u64) -> Option<&str> {
    ops.due(at(second)).map(|message| message.id.as_str())
}

#[test]
fn messages_go_out_in_order_once_they_are_kept() {
    let mut ops = with_messages(2);
    assert_eq!(due(&ops, 2), None);
    ops.keep();
    assert_eq!(due(&ops, 2), Some("m1"));
    // What is not there changes nothing.
    assert_eq!(ops.tried("m3", Ok(()), at(3)), None);
    assert_eq!(ops.tried("m1", Ok(()), at(3)), None);
    assert_eq!(due(&ops, 3), Some("m2"));
    assert_eq!(ops.tried("m2", Ok(()), at(4)), None);
    assert_eq!(
        (due(&ops, 4), ops.queued(), ops.counts()),
        (None, 0, (2, 0))
    );
    let log: Vec<_> = ops
        .log()
        .map(|d| (d.id.as_str(), d.tries, &d.outcome))
        .collect();
    let done = &Outcome::Delivered;
    assert_eq!(log, [("m1", 1, done), ("m2", 1, done)]);
}

#[test]
fn messages_about_other_things_do_not_wait_for_one_that_fails() {
    let mut world = World::default();
    let mut ops = Receiver::new(AlertRule {
        group_wait: Duration::ZERO,
        ..rule()
    });
    for (second, name, condition) in [(1, "db", Down), (2, "web", Down), (3, "db", Fine)] {
        world.set(target(name), condition, second);
        ops.look(&world, second);
    }
    ops.keep();
    ops.tried("m1", Err("400".into()), at(4));
    assert_eq!(due(&ops, 4), Some("m2"));
    ops.tried("m2", Ok(()), at(4));
    // That db is up again waits for that it was down.
    assert_eq!(due(&ops, 8), None);
    assert_eq!(due(&ops, 9), Some("m1"));
    ops.tried("m1", Ok(()), at(9));
    assert_eq!(due(&ops, 9), Some("m3"));
}

#[test]
fn a_reminder_takes_the_place_of_one_that_waits() {
    let mut world = World::default();
    let mut ops = Receiver::new(AlertRule {
        repeat: Some(Duration::from_secs(60)),
        group_wait: Duration::ZERO,
        ..rule()
    });
    world.set(target("db"), Down, 1);
    for second in [1, 61, 121, 181] {
        ops.look(&world, second);
    }
    let ids = |ops: &Receiver| -> Vec<String> {
        let queue = ops.queue.iter();
        queue.map(|q| q.message.id.clone()).collect()
    };
    assert_eq!(ids(&ops), ["m1", "m181"]);
    // One that says other things stays.
    world.set(target("web"), Down, 200);
    for second in [200, 241, 260, 301] {
        ops.look(&world, second);
    }
    assert_eq!(ids(&ops), ["m1", "m200", "m260", "m301"]);
}

#[test]
fn what_could_not_be_kept_is_to_be_kept_again() {
    let mut ops = with_messages(1);
    assert!(ops.keep().is_some());
    assert_eq!(ops.keep(), None);
    ops.not_kept();
    assert!(ops.keep().is_some());
}

#[test]
fn a_clock_set_forward_gives_nothing_up() {
    let mut ops = with_messages(1);
    ops.keep();
    let later = at(10 * 86_400);
    assert!(
        !ops.tried("m1", Err("no".into()), later)
            .unwrap()
            .contains("gave up")
    );
    assert_eq!(ops.tried("m1", Err("no".into()), later), None);
    let told = ops.tried("m1", Err("no".into()), later).unwrap();
    assert!(
        told.contains("gave up on \"db down\": tried for a day: no"),
        "{told}"
    );
}

#[test]
fn a_failed_delivery_is_tried_again_for_a_day() {
    let mut ops = with_messages(1);
    ops.keep();
    let mut second = 1;
    let mut rests = Vec::new();
    let mut told = Vec::new();
    while let Some(id) = due(&ops, second).map(str::to_string) {
        let error = Err(format!("refused {second}"));
        told.extend(ops.tried(&id, error, at(second)));
        let Some(next) = ops.next_at() else { break };
        rests.push((next.0 - at(second).0) / 1000);
        second = (next.0 - at(0).0) / 1000;
    }
    assert_eq!(rests[..8], [5, 10, 20, 40, 80, 160, 300, 300]);
    assert!(rests[8..].iter().all(|rest| *rest == 300));
    assert!((86_401..86_401 + 300).contains(&second), "{second}");
    let given_up = format!("tried for a day: refused {second}");
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], "alert ops: refused 1");
    assert!(told[1].starts_with("alert ops: gave up on \"") && told[1].ends_with(&given_up));
    assert_eq!((ops.queued(), ops.counts()), (0, (0, 1)));
    let last = ops.log().last().unwrap();
    assert_eq!(last.outcome, Outcome::Dropped(given_up));
    assert_eq!(last.tries as usize, rests.len() + 1);
    assert_eq!(ops.log().count(), 1);
    // One that arrives in the end is worth a word.
    let mut ops = with_messages(1);
    ops.keep();
    ops.tried("m1", Err("no".into()), at(1));
    let told = ops.tried("m1", Ok(()), at(6));
    assert_eq!(told.as_deref(), Some("alert ops: delivered after 2 tries"));
}

#[test]
fn a_clock_that_is_set_back_delays_nothing_for_long() {
    let mut world = World::default();
    let mut ops = Receiver::new(AlertRule {
        repeat: Some(Duration::from_secs(100)),
        ..rule()
    });
    world.set(target("db"), Down, 5_000);
    assert_eq!(ops.look(&world, 5_000), [""; 0]);
    assert_eq!(ops.waits_until(), Some(at(5_010)));
    // An hour back in the middle of the wait.
    assert_eq!(ops.look(&world, 1_000), [""; 0]);
    assert_eq!(ops.waits_until(), Some(at(1_010)));
    assert_eq!(ops.look(&world, 1_010), ["db down<up"]);
    ops.keep();
    ops.tried("m1010", Err("no".into()), at(1_010));
    assert_eq!(due(&ops, 1_014), None);
    assert_eq!(due(&ops, 500), Some("m1010"));
    // And before a reminder.
    assert_eq!(ops.look(&world, 500), [""; 0]);
    assert_eq!(ops.look(&world, 600), ["again db down<down"]);
}

#[test]
fn a_full_queue_drops_the_oldest_and_counts_it() {
    let mut ops = with_messages(QUEUE_MAX as u64 + 3);
    ops.keep();
    assert_eq!((ops.queued(), ops.counts()), (QUEUE_MAX, (0, 3)));
    let told = "alert ops: gave up on 3 messages, the oldest: too many waited";
    assert_eq!(ops.overflow().as_deref(), Some(told));
    assert_eq!(ops.overflow(), None);
    assert_eq!(due(&ops, 9_999), Some("m4"));
    assert_eq!(ops.log().count(), 3);
    // Their bytes have a limit, too; the newest is never dropped.
    let mut ops = with_messages(1);
    let long = AlertEvent {
        text: "x".repeat(QUEUE_BYTES_MAX / 3),
        ..ops.queue[0].message.events[0].clone()
    };
    for _ in 0..4 {
        let events = vec![(Down, long.clone())];
        ops.send(events, Occasion::News, &name("host"), at(2), "y".into());
    }
    // Each text stands in the message twice.
    assert_eq!((ops.queued(), ops.counts()), (1, (0, 4)));
    assert!(ops.overflow().unwrap().contains("4 messages"));
}

#[test]
fn a_receiver_reads_back_as_it_was_kept() {
    let mut ops = with_messages(41);
    ops.keep();
    for _ in 0..30 {
        let id = due(&ops, 999).unwrap().to_string();
        ops.tried(&id, Ok(()), at(50));
    }
    let id = due(&ops, 999).unwrap().to_string();
    ops.tried(&id, Err("answered 500: \u{1b}[2J".into()), at(51));
    let mut world = World::default();
    world.set(target("db"), Down, 41);
    world.set(Subject::Agent(name("attic")), Away, 60);
    assert_eq!(ops.look(&world, 60), ["attic away<connected"]);
    ops.keep();
    assert_eq!(ops.log().count(), LOG_MAX);
    let text = ops.json();
    let read = Receiver::parse(ops.rule.clone(), &json::parse(text.as_bytes()).unwrap());
    assert_eq!(read.as_ref().map(Receiver::json), Some(text.clone()));
    assert!(
        read.as_ref()
            .is_some_and(|read| read.due(at(9_999)).is_some())
    );
    // And tells nothing again.
    assert_eq!(read.unwrap().look(&world, 61), [""; 0]);
    for bad in [
        "{}",
        "[]",
        &text.replace("away", "elsewhere"),
        &text.replace("\"delivered\":30", "\"delivered\":-1"),
    ] {
        let value = json::parse(bad.as_bytes()).unwrap();
        assert_eq!(Receiver::parse(rule(), &value), None, "{bad}");
    }
}
