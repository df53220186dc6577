//! One try to hand a message to its receiver, whichever way the rule names.
//!
//! It ends within the rule's timeout, give or take what killing a program takes. Trying
//! again is the caller's matter: what came through is not known to a receiver to have come
//! before, save by the message's id.

use std::path::Path;

use super::{forms, run};
use crate::alert::{AlertRule, Message, Way};
use crate::error::Result;
use crate::http;
use crate::net::resolve::Resolver;

/// Delivers `message` as `rule` says; programs run in `dir`. Errors: why it is not known to
/// have arrived, ready to print.
pub fn deliver(resolver: &Resolver, rule: &AlertRule, message: &Message, dir: &Path) -> Result<()> {
    match &rule.way {
        Way::Run(argv) => run::run(argv, message, rule.timeout, dir),
        Way::Webhook { url, body } => {
            let post = forms::post(message, url, body, rule.repeat);
            let headers = [("Content-Type", post.content_type)];
            let body = post.body.as_bytes();
            http::post(resolver, &post.url, &headers, body, rule.timeout)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Form, On};
    use crate::manager::alerts::examples::example;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    fn delivered(way: Way) -> Result<()> {
        let rule = AlertRule {
            name: "ops".parse().unwrap(),
            on: On::ALL.to_vec(),
            targets: vec!["*".parse().unwrap()],
            way,
            timeout: Duration::from_secs(20),
            repeat: None,
            group_wait: Duration::ZERO,
            late: false,
        };
        deliver(&Resolver::default(), &rule, &example(), Path::new("/"))
    }

    #[cfg(unix)]
    #[test]
    fn a_program_is_run() {
        for (script, expected) in [
            ("grep -q '\"target\":\"db\"'", Ok(())),
            ("exit 7", Err("run /bin/sh: exit status 7".to_string())),
        ] {
            let argv = ["/bin/sh", "-c", script].map(str::to_string);
            let got = delivered(Way::Run(argv.into()));
            assert_eq!(got.map_err(|error| error.to_string()), expected);
        }
    }

    #[test]
    fn a_webhook_is_posted_to_in_its_form() {
        for (form, path, content_type) in [
            (Form::Json, "/ops", "application/json"),
            (Form::Ntfy, "/", "application/json"),
            (
                Form::Template("x".to_string()),
                "/ops",
                "text/plain; charset=utf-8",
            ),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/ops", listener.local_addr().unwrap());
            let server = std::thread::spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(&stream).lines().map(|line| line.unwrap());
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                (&stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                head
            });
            let url = url.parse().unwrap();
            delivered(Way::Webhook { url, body: form }).unwrap();
            let head = server.join().unwrap();
            assert_eq!(head[0], format!("POST {path} HTTP/1.1"));
            assert!(
                head.contains(&format!("Content-Type: {content_type}")),
                "{head:?}"
            );
        }
    }
}
