//! What the agent answers over HTTP: probes on demand, as blackbox_exporter's tcp modules do,
//! and its own metrics.
//!
//! Always: what is not configured is probed only where `--allow` says so; a probe on demand
//! has a connection's own thread and is recorded nowhere.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Agent;
use crate::clock;
use crate::config::{MODULE_DEFAULT, MODULE_TIMEOUT_MAX, ProbeModule};
use crate::error::Result;
use crate::files::write_process;
use crate::http::access::Access;
use crate::http::reply::{Reply, TEXT};
use crate::http::request::Request;
use crate::http::server::{self, Answer, Served};
use crate::metrics::{Exposition, Format, Kind, seconds, write_rows};
use crate::model::{Name, Sample, Target, Terms, Wall, Why};
use crate::net::resolve::Resolver;
use crate::probe;
use crate::script::Script;
use crate::units::{HostPort, Reach, duration_text};

/// How long a probe may take where neither the module nor who asks says it.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// So much earlier than a scraper gives up the probe is to end, as blackbox_exporter has it.
const TIMEOUT_MARGIN: Duration = Duration::from_millis(500);
/// The header in which Prometheus says when it gives up.
const TIMEOUT_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// How the agent answers.
pub struct Options {
    pub access: Access,
    pub modules: Vec<ProbeModule>,
    /// Where what is not configured may be probed; `None`: nowhere.
    pub allowed: Option<Reach>,
}

struct Site {
    agent: Arc<Agent>,
    options: Options,
    resolver: Resolver,
    served: Arc<Served>,
    started: Wall,
}

/// Answers HTTP for this agent from now on; where.
pub fn start(agent: &Arc<Agent>, resolver: Resolver, options: Options) -> Result<SocketAddr> {
    agent.recorder.count();
    let served = Arc::new(Served::default());
    let listen = options.access.listen;
    let site = Site {
        agent: Arc::clone(agent),
        options,
        resolver,
        served: Arc::clone(&served),
        started: clock::wall(),
    };
    server::start(listen, served, move |request| answer(&site, request))
}

fn answer(site: &Site, request: &Request) -> Answer {
    if request.path == "/healthz" {
        return Reply::text(200, "ok").into();
    }
    if let Err(reply) = site.options.access.grant(request) {
        return reply.into();
    }
    match request.path.as_str() {
        "/probe" => probe_asked(site, request),
        "/metrics" => metrics(site, request),
        "/" => Reply::text(
            200,
            "tcpmon-agent: /probe?target=HOST:PORT&module=NAME[&debug=true], /metrics, /healthz",
        ),
        _ => Reply::text(404, "there is nothing here"),
    }
    .into()
}

/// A probe on demand.
fn probe_asked(site: &Site, request: &Request) -> Reply {
    let Some(text) = request.query("target").filter(|text| !text.is_empty()) else {
        return Reply::text(400, "target: expected HOST:PORT");
    };
    let address: HostPort = match text.parse() {
        Ok(address) => address,
        Err(expected) => return Reply::text(400, &format!("target: {expected}, found {text}")),
    };
    let name = request.query("module").filter(|name| !name.is_empty());
    let name = name.unwrap_or(MODULE_DEFAULT);
    let Some(module) = site
        .options
        .modules
        .iter()
        .find(|m| m.name.as_str() == name)
    else {
        return Reply::text(400, &format!("module: unknown module {name}"));
    };
    let usual = Reach::default();
    let reach = match &site.options.allowed {
        Some(reach) => reach,
        None if site.agent.recorder.probes(&address) => &usual,
        None => {
            return Reply::text(
                403,
                &format!(
                    "{address} is not configured here; what else may be probed is said with --allow"
                ),
            );
        }
    };
    let asked = request
        .header(TIMEOUT_HEADER)
        .map(|text| text.parse::<f64>());
    let asked = match asked {
        Some(Ok(s)) if s.is_finite() && s >= 0.0 => Some(Duration::from_secs_f64(s.min(1e6))),
        None => None,
        Some(_) => {
            return Reply::text(400, "X-Prometheus-Scrape-Timeout-Seconds: expected seconds");
        }
    };
    let target = target(module, address, timeout(module.timeout, asked));
    let mut trace = Vec::new();
    let began = clock::mono();
    let mut note = |what: &str| {
        let since = clock::mono().since(began);
        trace.push(format!("{:>10.6} {what}", since.as_secs_f64()));
    };
    let probed = probe::tcp(&site.resolver, reach, &target, began, &mut Some(&mut note));
    let sample = match probed {
        Ok((sample, stream)) => {
            if let Some(stream) = stream {
                probe::goodbye(stream, target.timeout);
            }
            sample
        }
        Err(text) => return Reply::text(503, &text),
    };
    let is_debug = request.query("debug") == Some("true");
    let format = match is_debug {
        true => Format::Text,
        false => Format::accepted(&request.header("accept").unwrap_or_default()),
    };
    let text = told(&sample, &target, format);
    match is_debug {
        true => Reply::new(TEXT, debug(&target, &trace, &text, module)),
        false => Reply::new(format.kind(), text),
    }
}

/// The shorter of what the module and the scraper allow, which wants its answer in time.
fn timeout(module: Option<Duration>, asked: Option<Duration>) -> Duration {
    let asked = asked
        .map(|d| d.saturating_sub(TIMEOUT_MARGIN))
        .filter(|d| !d.is_zero());
    let least = match (module, asked) {
        (Some(module), Some(asked)) => module.min(asked),
        (module, asked) => module.or(asked).unwrap_or(TIMEOUT_DEFAULT),
    };
    least.min(MODULE_TIMEOUT_MAX)
}

fn target(module: &ProbeModule, address: HostPort, timeout: Duration) -> Target {
    let script = match &module.script {
        Some(script) => script.expand(&address),
        None => Script::default(),
    };
    let terms = Terms {
        family: module.family,
        want: module.want,
        script,
        ..Terms::every(timeout, timeout)
    };
    Target::new(module.name.clone(), address, terms)
}

/// What a probe found, in the words of blackbox_exporter, and where the time went.
fn told(sample: &Sample, target: &Target, format: Format) -> String {
    let mut out = Exposition::new(format);
    let literal = target.address.literal();
    let addr = sample.addr.as_deref().copied().or(literal);
    let why = sample.failure.as_ref().map(|failure| failure.why);
    let phases = &sample.phases;
    out.single(
        "probe_dns_lookup_time_seconds",
        Kind::Gauge,
        "How long the name took to be looked up.",
        phases.dns.map_or(0.0, seconds),
    );
    out.single(
        "probe_duration_seconds",
        Kind::Gauge,
        "How long the probe took to complete.",
        seconds(sample.us),
    );
    out.single(
        "probe_failed_due_to_regex",
        Kind::Gauge,
        "Whether it failed because what came was not what is expected.",
        f64::from(why == Some(Why::Mismatch)),
    );
    out.single(
        "probe_ip_addr_hash",
        Kind::Gauge,
        "A hash of the address, which tells whether that changes.",
        addr.map_or(0.0, |addr| f64::from(address_hash(addr.ip()))),
    );
    out.single(
        "probe_ip_protocol",
        Kind::Gauge,
        "Whether the address is of IPv4 or IPv6; 0 where there is none.",
        addr.map_or(0.0, |addr| if addr.is_ipv4() { 4.0 } else { 6.0 }),
    );
    out.single(
        "probe_success",
        Kind::Gauge,
        "Whether the probe succeeded.",
        f64::from(sample.ok()),
    );
    out.family(
        "probe_tcp_duration_seconds",
        Kind::Gauge,
        "Where the time went: resolve and connect by themselves, first_byte and match from the connection on.",
    );
    for (phase, us) in [
        ("resolve", phases.dns),
        ("connect", phases.connect),
        ("first_byte", phases.first_byte),
        ("match", phases.matched),
    ] {
        if let Some(us) = us {
            out.sample(&[("phase", phase)], seconds(us));
        }
    }
    out.family(
        "probe_failure_reason",
        Kind::Gauge,
        "Why the probe failed: 1 for the reason.",
    );
    for (reason, word) in Why::ALL {
        out.sample(&[("reason", word)], f64::from(why == Some(reason)));
    }
    out.finish()
}

/// FNV-1a over the address's bytes (draft-eastlake-fnv), as blackbox_exporter has it.
fn address_hash(ip: IpAddr) -> u32 {
    let octets = match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    octets.iter().fold(0x811c_9dc5, step)
}

fn debug(target: &Target, trace: &[String], metrics: &str, module: &ProbeModule) -> String {
    format!(
        "Logs for the probe:\n{:>10.6} probing {} with module {}, for {} at most\n{}\n\n\nMetrics that would have been returned:\n{metrics}\n\n\nModule configuration:\n{}\n",
        0.0,
        target.address,
        module.name,
        duration_text(target.timeout),
        trace.join("\n"),
        module.json(),
    )
}

/// The agent's own metrics, for who has no manager.
fn metrics(site: &Site, request: &Request) -> Reply {
    let format = Format::accepted(&request.header("accept").unwrap_or_default());
    let mut out = Exposition::new(format);
    let agent = &site.agent;
    out.family("tcpmon_build_info", Kind::Gauge, "Which program this is.");
    let version = env!("CARGO_PKG_VERSION");
    out.sample(&[("program", "tcpmon-agent"), ("version", version)], 1.0);
    let rows = agent.recorder.counted();
    let labels = |target: &Name, each: Option<IpAddr>| {
        let mut labels = vec![("target", target.to_string())];
        labels.extend(each.map(|ip| ("address", ip.to_string())));
        labels
    };
    out.family(
        "tcpmon_probe_up",
        Kind::Gauge,
        "Whether the latest probe of a target was answered as it is to be.",
    );
    for row in &rows {
        out.sample(&labels(&row.target, row.each), f64::from(row.is_up));
    }
    out.family(
        "tcpmon_probe_since_timestamp_seconds",
        Kind::Gauge,
        "Since when it is so, as far as this run of the agent knows.",
    );
    for row in &rows {
        out.sample(&labels(&row.target, row.each), row.since.0 as f64 / 1e3);
    }
    let counted: Vec<_> = rows
        .iter()
        .map(|row| (labels(&row.target, row.each), &row.tally))
        .collect();
    write_rows(&mut out, &counted);
    write_load(&mut out, site);
    write_process(&mut out, site.started);
    Reply::new(format.kind(), out.finish())
}

fn write_load(out: &mut Exposition, site: &Site) {
    let agent = &site.agent;
    let load = agent.prober.load();
    let spool = &agent.recorder.spool;
    let held = spool
        .ranges()
        .iter()
        .map(|r| (r.last + 1).saturating_sub(r.first))
        .sum::<u64>();
    for (name, kind, help, value) in [
        (
            "tcpmon_agent_rows",
            Kind::Gauge,
            "Targets, or addresses of them, that are probed.",
            load.rows as f64,
        ),
        (
            "tcpmon_agent_workers",
            Kind::Gauge,
            "Threads that probe.",
            load.workers as f64,
        ),
        (
            "tcpmon_agent_workers_busy",
            Kind::Gauge,
            "Of those, how many do not wait for a probe's time.",
            load.busy as f64,
        ),
        (
            "tcpmon_agent_probes",
            Kind::Counter,
            "Probes since the agent started.",
            load.late.count() as f64,
        ),
        (
            "tcpmon_agent_ticks_skipped",
            Kind::Counter,
            "Ticks that passed without a probe.",
            load.skipped as f64,
        ),
        (
            "tcpmon_agent_spool_size_bytes",
            Kind::Gauge,
            "What the spool takes on disk.",
            spool.bytes() as f64,
        ),
        (
            "tcpmon_agent_spool_records",
            Kind::Gauge,
            "Records in the spool, sent or not.",
            held as f64,
        ),
        (
            "tcpmon_agent_spool_dropped_results",
            Kind::Counter,
            "Results dropped for want of disk.",
            spool.dropped() as f64,
        ),
        (
            "tcpmon_agent_spool_trouble",
            Kind::Gauge,
            "Whether results cannot be stored.",
            f64::from(spool.trouble().is_some()),
        ),
    ] {
        out.single(name, kind, help, value);
    }
    out.family(
        "tcpmon_http_responses",
        Kind::Counter,
        "HTTP requests that were answered, by status.",
    );
    for (status, count) in site.served.by_status() {
        out.sample(&[("code", &status.to_string())], count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_timeout_counts_and_leaves_time_to_answer() {
        let s = Duration::from_secs_f64;
        for (module, asked, expected) in [
            (None, None, 10.0),
            (Some(5.0), None, 5.0),
            (None, Some(10.0), 9.5),
            (Some(5.0), Some(10.0), 5.0),
            (Some(5.0), Some(2.0), 1.5),
            (None, Some(0.25), 10.0),
            (None, Some(900.0), 120.0),
        ] {
            assert_eq!(
                timeout(module.map(s), asked.map(s)),
                s(expected),
                "{module:?} {asked:?}"
            );
        }
    }

    #[test]
    fn addresses_are_hashed_as_elsewhere() {
        // FNV-1a, 32 bits: the offset basis, and "foobar", of the draft's own test vectors.
        let hash = |bytes: &[u8]| {
            bytes.iter().fold(0x811c_9dc5u32, |h, b| {
                (h ^ u32::from(*b)).wrapping_mul(0x0100_0193)
            })
        };
        assert_eq!(hash(b"foobar"), 0xbf9c_f968);
        assert_eq!(
            address_hash("127.0.0.1".parse().unwrap()),
            hash(&[127, 0, 0, 1])
        );
        assert_eq!(
            address_hash("::ffff:127.0.0.1".parse().unwrap()),
            hash(&[127, 0, 0, 1])
        );
    }
}
