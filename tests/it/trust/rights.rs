//! What a manager may do is in its key: a second one that may only read gets every
//! result and changes nothing.

use tcpmon::channel;
use tcpmon::key;
use tcpmon::model::{Id, Revision, Wall};
use tcpmon::net::line::Step;
use tcpmon::net::resolve::Resolver;
use tcpmon::proto::{self, Hello, Message, Role, Side};

use super::{INTERVAL, LISTEN, dialled, dials_in, times};
use crate::support::{Site, until};

#[test]
fn a_manager_whose_new_key_may_more_configures_at_once() {
    let site = Site::new(1);
    site.keygen(&["--rights", "read"]);
    site.keygen(&["--out", "more.key"]);
    site.keygen(&["--agent", "attic"]);
    let more = ["--agent", "attic", "--master", "more.key"];
    site.keygen(&[&more[..], &["--out", "attic-more.key"]].concat());
    let keys = ["--key-file", "attic.key", "--key-file", "attic-more.key"];
    let mut attic = site.agent_with("attic", &[&LISTEN[..], &keys].concat());
    let entry = [dialled("attic", attic.listening(), None)];
    let defaults = format!(r#"{INTERVAL},"key_file":"master.key""#);
    site.fleet_of(&entry, &defaults, 1);
    let mut manager = site.serve(&[]);
    manager.stderr.line("agent attic connected");
    let status = site.reading(&["status", "--json"]);
    assert!(status.contains(r#""pending":false"#), "{status}");
    assert_eq!(times(&mut attic, "configuration"), 0);
    site.rekey("master.key", &["more.key"]);
    manager.stderr.line("its key was removed");
    site.grows("attic", 2);
    // And back: it goes on receiving, and offers nothing more.
    assert_eq!(times(&mut attic, "configuration"), 1);
}

#[test]
fn a_manager_that_may_only_read_receives_everything_and_configures_nothing() {
    let (main, standby) = (Site::new(1), Site::new(1));
    main.keygen(&[]);
    main.keygen(&["--agent", "attic"]);
    standby.keygen(&["--rights", "read"]);
    standby.keygen(&["--agent", "attic"]);
    let theirs = standby.path("attic.key");
    let theirs = theirs.to_str().unwrap();
    standby.fleet_of(
        &[dials_in("attic", None)],
        r#""interval":"1s","key_file":"master.key""#,
        7,
    );
    let mut reader = standby.serve(&LISTEN);
    let to = reader.listening().to_string();
    let keys = ["--key-file", "attic.key", "--key-file", theirs];
    let args = [&LISTEN[..], &keys, &["--manager", &to]].concat();
    let mut attic = main.agent_with("attic", &args);
    let entry = [dialled("attic", attic.listening(), None)];
    let defaults = format!(r#"{INTERVAL},"key_file":"master.key""#);
    main.fleet_of(&entry, &defaults, 2);
    let mut owner = main.serve(&[]);
    main.grows("attic", 5);
    standby.grows("attic", 5);
    // The fleet of the standby changes nothing; the owner's does, and the standby sees it.
    standby.fleet_of(
        &[dials_in("attic", None)],
        r#""interval":"1s","key_file":"master.key""#,
        9,
    );
    reader.stderr.line("changed on disk: loaded");
    main.fleet_of(&entry, &defaults, 3);
    owner.stderr.line("changed on disk: loaded");
    until("the new target at the standby", || {
        let lines = standby.stored().remove("attic")?;
        let found = |line: &String| line.contains(r#""target":"t2""#) && line.contains(r#""ok":"#);
        lines.iter().any(found).then_some(())
    });
    main.audited_clean();
    standby.audited_clean();
    let (ours, theirs) = (main.stored(), standby.stored());
    let (ours, theirs) = (&ours["attic"], &theirs["attic"]);
    let both = ours.len().min(theirs.len());
    assert_eq!(ours[..both], theirs[..both]);
    for line in theirs {
        let foreign = (3..9).any(|n| line.contains(&format!(r#""target":"t{n}""#)));
        assert!(!foreign, "{line}");
    }
    let status = until("the standby's status", || {
        let status = standby.reading(&["status", "--json"]);
        status.contains(r#""connected":true"#).then_some(status)
    });
    assert!(status.contains(r#""pending":false"#), "{status}");
    assert_eq!(times(&mut reader, "rejected"), 0);
    assert_eq!(times(&mut attic, "of manager main applied"), 2);
    assert_eq!(times(&mut attic, "configuration"), 2);
    let mut programs = [&mut attic, &mut owner, &mut reader];
    main.keeps_secrets(&mut programs);
    standby.keeps_secrets(&mut programs);
}

/// A manager that sends a configuration all the same: what the agent answers, and that
/// nothing is changed, is up to the agent.
#[test]
fn an_agent_takes_no_configuration_under_a_key_that_may_only_read() {
    let site = Site::new(1);
    site.keygen(&["--rights", "read"]);
    site.keygen(&["--agent", "attic"]);
    let mut attic = site.agent_with(
        "attic",
        &[&LISTEN[..], &["--key-file", "attic.key"]].concat(),
    );
    let at = attic.listening().to_string().parse().unwrap();
    let keys = std::fs::read(site.path("attic.key")).unwrap();
    let keys = key::parse_file(&keys).unwrap();
    let hello = |_: Option<&key::Key>| Hello {
        version: proto::VERSION,
        role: Role::Manager,
        side: Side::Dialler,
        id: Id(1),
        name: "eager".parse().unwrap(),
        instance: Id(1),
        at: Wall(0),
        expects: None,
        auth: None,
    };
    let mut link = channel::dial(&Resolver::default(), &at, Some(keys), &mut 0, hello).unwrap();
    let text = r#"{"targets":[]}"#;
    let revision = Revision {
        owner: Id(1),
        owner_name: "eager".parse().unwrap(),
        counter: 1,
        hash: proto::content_hash(text),
    };
    for part in proto::parts(&revision, true, text) {
        let line = Message::Config(part).line();
        link.writer.write(line.as_bytes()).unwrap();
    }
    let problems = loop {
        assert_eq!(link.reader.step().unwrap(), Step::Whole);
        match Message::parse(link.reader.line()) {
            Ok(Message::Rejected {
                problems,
                current: None,
                ..
            }) => break problems,
            Ok(Message::Beat { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        problems,
        ["this manager's key may read results, not configure"]
    );
    assert_eq!(times(&mut attic, "configuration"), 0);
}
