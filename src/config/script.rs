//! Scripts as JSON: a list of steps, the same in the fleet file and on its way to an
//! agent; in the fleet file also the name of a preset.

use std::time::Duration;

use super::fields::{Key, Presence, Spot, quoted};
use crate::json;
use crate::script::preset::{self, Http};
use crate::script::{
    Expect, Need, PATTERNS_MAX, Pattern, Place, STEPS_MAX, Script, Step, TEXT_BYTES_MAX, escape,
    unescape, unhex,
};
use crate::text::nearest;
use crate::units::{HostPort, duration_text};

/// Shortest and longest time of a step.
const WITHIN_MIN: Duration = Duration::from_millis(10);
const WITHIN_MAX: Duration = Duration::from_secs(3600);

/// What a person writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetScript {
    Steps(Script),
    /// One of [`preset::NAMES`] but `http`.
    Preset(&'static str),
    Http(Http),
}

impl FleetScript {
    /// The steps that it stands for, towards this address.
    pub fn expand(&self, address: &HostPort) -> Script {
        match self {
            FleetScript::Steps(script) => script.clone(),
            FleetScript::Preset(name) => preset::script(name).unwrap_or_default(),
            FleetScript::Http(http) => preset::http(http, address),
        }
    }

    /// Its JSON in the fleet file.
    pub fn json(&self) -> String {
        let mut out = String::new();
        match self {
            FleetScript::Steps(script) => return script_json(script),
            FleetScript::Preset(name) => json::string(&mut out, name),
            FleetScript::Http(http) => {
                let member =
                    |key: &Key<Http>| Some(format!("\"{}\": {}", key.name, (key.write)(http)?));
                let members: Vec<String> = HTTP.iter().filter_map(member).collect();
                return format!("{{ \"preset\": \"http\"{} }}", tail(&members));
            }
        }
        out
    }
}

fn tail(members: &[String]) -> String {
    members.iter().map(|m| format!(", {m}")).collect()
}

static HTTP: [Key<Http>; 3] = [
    Key {
        name: "path",
        presence: Presence::Optional,
        read: |http, spot| http.path = spot.string("a path in quotes", path),
        write: |http| http.path.as_deref().map(quote),
    },
    Key {
        name: "status",
        presence: Presence::Optional,
        read: |http, spot| http.status = spot.number(status),
        write: |http| http.status.map(|n| n.to_string()),
    },
    Key {
        name: "body",
        presence: Presence::Optional,
        read: |http, spot| http.body = spot.string("a text in quotes", body),
        write: |http| http.body.as_deref().map(quote),
    },
];

fn path(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/')
        && text.len() <= TEXT_BYTES_MAX / 2
        && text.bytes().all(|b| b.is_ascii_graphic());
    let expected = || "expected a path such as \"/health\", without spaces".to_string();
    fits.then(|| text.to_string()).ok_or_else(expected)
}

fn status(number: Option<u64>) -> Result<u16, String> {
    let fits = number.filter(|n| (100..=599).contains(n));
    let expected = || "expected a status from 100 to 599".to_string();
    fits.map(|n| n as u16).ok_or_else(expected)
}

fn body(text: &str) -> Result<String, String> {
    bounded(text.as_bytes().to_vec()).map(|_| text.to_string())
}

fn bounded(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let fits = (1..=TEXT_BYTES_MAX).contains(&bytes.len());
    let expected = || format!("expected 1 to {TEXT_BYTES_MAX} bytes");
    fits.then_some(bytes).ok_or_else(expected)
}

fn quote(text: &str) -> String {
    let mut out = String::new();
    json::string(&mut out, text);
    out
}

/// Reads a preset's name, a preset with its own keys, or a list of steps.
pub fn read_fleet_script(spot: &mut Spot<'_, '_>) -> Option<FleetScript> {
    if spot.value.array().is_some() {
        return read_script(spot).map(FleetScript::Steps);
    }
    if spot.value.object().is_some() {
        return read_http(spot);
    }
    let expected = "a list of steps, or a preset's name in quotes";
    spot.string(expected, |name| {
        match preset::NAMES.iter().find(|n| **n == name) {
            Some(&"http") => Ok(FleetScript::Http(Http::default())),
            Some(name) => Ok(FleetScript::Preset(name)),
            None => Err(match nearest(name, preset::NAMES.into_iter()) {
                Some(near) => format!("expected a preset, did you mean \"{near}\"?"),
                None => format!("expected a preset ({})", preset::NAMES.join(", ")),
            }),
        }
    })
}

/// `preset` stands beside the keys of the one preset that has some.
fn read_http(spot: &mut Spot<'_, '_>) -> Option<FleetScript> {
    static NAMED: Key<Http> = Key {
        name: "preset",
        presence: Presence::Required,
        read: |_, spot| {
            spot.string(
                "\"http\", the preset that has keys of its own",
                |name| match name {
                    "http" => Ok(()),
                    _ => Err("expected \"http\", the preset that has keys of its own".into()),
                },
            );
        },
        write: |_| None,
    };
    let [path, status, body] = &HTTP;
    let keys = [&NAMED, path, status, body].map(|key| Key { ..*key });
    let mut http = Http::default();
    spot.object(&mut http, &keys);
    Some(FleetScript::Http(http))
}

/// A step as its keys say; what they say together is checked after them.
#[derive(Default)]
struct Draft {
    send: Option<Vec<u8>>,
    patterns: Vec<Pattern>,
    expects: bool,
    silence: Option<Duration>,
    all: bool,
    reject: Vec<Vec<u8>>,
    within: Option<Duration>,
    silent_ok: bool,
}

static STEP: [Key<Draft>; 10] = [
    key("send", |draft, spot| {
        draft.send = spot.string("a text in quotes", text);
    }),
    key("send_bytes", |draft, spot| {
        draft.send = spot.string("hex digits in quotes", hex);
    }),
    key("expect", |draft, spot| {
        patterns(draft, spot, Place::Anywhere, text);
    }),
    key("expect_start", |draft, spot| {
        patterns(draft, spot, Place::Start, text);
    }),
    key("expect_bytes", |draft, spot| {
        patterns(draft, spot, Place::Anywhere, hex);
    }),
    key("expect_silence", |draft, spot| {
        draft.silence = spot.duration(within);
    }),
    key("all", |draft, spot| {
        draft.all = spot.bool().unwrap_or_default();
    }),
    key("reject", |draft, spot| {
        draft.reject = one_or_more(spot, text);
    }),
    key("within", |draft, spot| {
        draft.within = spot.duration(within);
    }),
    key("silent_ok", |draft, spot| {
        draft.silent_ok = spot.bool().unwrap_or_default();
    }),
];

const fn key(name: &'static str, read: fn(&mut Draft, &mut Spot<'_, '_>)) -> Key<Draft> {
    Key {
        name,
        presence: Presence::Optional,
        read,
        write: |_| None,
    }
}

fn text(text: &str) -> Result<Vec<u8>, String> {
    bounded(unescape(text)?)
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    bounded(unhex(text)?)
}

fn within(d: Duration) -> Result<Duration, String> {
    match (WITHIN_MIN..=WITHIN_MAX).contains(&d) {
        true => Ok(d),
        false => Err("expected 10ms to 1h".to_string()),
    }
}

/// One text, or a list of them.
fn one_or_more(
    spot: &mut Spot<'_, '_>,
    parse: fn(&str) -> Result<Vec<u8>, String>,
) -> Vec<Vec<u8>> {
    const EXPECTED: &str = "a text in quotes, or a list of them";
    if spot.value.array().is_none() {
        return spot.string(EXPECTED, parse).into_iter().collect();
    }
    let list = spot.list(PATTERNS_MAX, |spot| spot.string("a text in quotes", parse));
    let list: Vec<Vec<u8>> = list.into_iter().flatten().flatten().collect();
    if spot.value.array().is_some_and(|items| items.is_empty()) {
        spot.problem(|| "an empty list expects nothing".to_string());
    }
    list
}

fn patterns(
    draft: &mut Draft,
    spot: &mut Spot<'_, '_>,
    place: Place,
    parse: fn(&str) -> Result<Vec<u8>, String>,
) {
    draft.expects = true;
    let found = one_or_more(spot, parse);
    let found = found.into_iter().map(|bytes| Pattern { bytes, place });
    draft.patterns.extend(found);
}

/// Reads a list of steps.
pub fn read_script(spot: &mut Spot<'_, '_>) -> Option<Script> {
    let steps = spot.list(STEPS_MAX, read_step)?;
    if steps.is_empty() {
        spot.problem(|| "an empty script; leave it out to ask for a connection alone".to_string());
    }
    Some(Script {
        steps: steps.into_iter().flatten().collect(),
    })
}

fn read_step(spot: &mut Spot<'_, '_>) -> Option<Step> {
    let mut draft = Draft::default();
    let value = spot.value;
    if !spot.object(&mut draft, &STEP) {
        return None;
    }
    let has = |key: &str| value.get(key).is_some();
    let kinds = ["send", "send_bytes", "expect_silence"];
    let kinds = kinds.iter().filter(|key| has(key)).count() + usize::from(draft.expects);
    if kinds != 1 {
        spot.problem(|| "a step sends, expects, or expects silence: one of the three".to_string());
        return None;
    }
    let modifiers = ["all", "reject", "within", "silent_ok"];
    if let Some(odd) = modifiers.iter().find(|key| !draft.expects && has(key)) {
        spot.problem(|| format!("{} goes with expect", quoted(odd)));
        return None;
    }
    if draft.patterns.len() > PATTERNS_MAX {
        let count = draft.patterns.len();
        spot.problem(|| format!("expected at most {PATTERNS_MAX} texts in a step, found {count}"));
        return None;
    }
    if let Some(bytes) = draft.send {
        return Some(Step::Send(bytes));
    }
    if let Some(long) = draft.silence {
        return Some(Step::Silence(long));
    }
    (!draft.patterns.is_empty()).then_some(Step::Expect(Expect {
        patterns: draft.patterns,
        need: if draft.all { Need::All } else { Need::Any },
        reject: draft.reject,
        within: draft.within,
        silent_ok: draft.silent_ok,
    }))
}

/// The JSON of a script: reading gives back an equal one.
pub fn script_json(script: &Script) -> String {
    let mut out = String::new();
    json::array(&mut out, |a| {
        for step in &script.steps {
            a.object(|o| match step {
                Step::Send(bytes) => {
                    o.str("send", &escape(bytes));
                }
                Step::Silence(long) => {
                    o.str("expect_silence", &duration_text(*long));
                }
                Step::Expect(expect) => write_expect(o, expect),
            });
        }
    });
    out
}

fn write_expect(o: &mut json::Object<'_>, expect: &Expect) {
    for (key, place) in [("expect", Place::Anywhere), ("expect_start", Place::Start)] {
        let here = expect.patterns.iter().filter(|p| p.place == place);
        let texts: Vec<String> = here.map(|p| escape(&p.bytes)).collect();
        write_texts(o, key, &texts);
    }
    if expect.need == Need::All {
        o.bool("all", true);
    }
    let reject: Vec<String> = expect.reject.iter().map(|r| escape(r)).collect();
    write_texts(o, "reject", &reject);
    if let Some(within) = expect.within {
        o.str("within", &duration_text(within));
    }
    if expect.silent_ok {
        o.bool("silent_ok", true);
    }
}

fn write_texts(o: &mut json::Object<'_>, key: &str, texts: &[String]) {
    match texts {
        [] => {}
        [one] => {
            o.str(key, one);
        }
        many => {
            o.array(key, |a| {
                for text in many {
                    a.str(text);
                }
            });
        }
    }
}
