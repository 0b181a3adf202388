//! `shortline events listen`, which delivers without an endpoint.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::rename;
use super::secrets::is_signed_by;
use crate::operations::commands::shortline;
use crate::support::{App, Sink, check, status, url};

/// The command, and the lines that it prints. It ends when this is dropped.
struct Listening {
    process: Child,
    lines: UnboundedReceiver<String>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Listening {
    fn start(app: &App, arguments: &[&str]) -> Self {
        let (partner, database) = (app.partner.sid.to_string(), url(&app.database));
        let mut command = Command::new(env!("CARGO_BIN_EXE_shortline"));
        command.args(["events", "listen", "--partner", &partner, "--database-url", &database]);
        let mut process = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = unbounded_channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { process, lines }
    }

    async fn next(&mut self) -> String {
        self.lines.recv().await.unwrap()
    }

    async fn next_json(&mut self) -> Value {
        serde_json::from_str(&self.next().await).unwrap()
    }
}

#[test]
fn listen_delivers_the_events_of_a_partner_to_a_program() {
    check(async |app| {
        let sink = Sink::start().await;
        let mut listening = Listening::start(app, &["--json", "--forward-to", &sink.url]);
        let secret = listening.next_json().await["secret"].clone();
        // A failure is not repeated, and delays nothing.
        sink.respond_in_turn(&[500]);
        rename(app, &app.partner.code_path(), 2).await;
        for (version, status) in [(2, 500), (3, 204)] {
            let line = listening.next_json().await;
            assert_eq!(line["id"], format!("msg_{}_{version}", app.partner.code_sid));
            assert_eq!(
                (&line["type"], &line["status"]),
                (&json!("short_code.updated"), &json!(status))
            );
            assert!(line["milliseconds"].is_number() && line["error"].is_null(), "{line}");
        }
        let received = sink.received();
        assert_eq!(received.len(), 2);
        for (received, version) in received.iter().zip([2, 3]) {
            assert!(is_signed_by(received, &secret), "{received:?}");
            assert_eq!(received.place(), (app.partner.code_sid.to_string(), version));
            assert_eq!(received.header("webhook-id"), received.body["id"]);
            assert!(received.body.get("cursor").is_none(), "{received:?}");
        }
    });
}

#[test]
fn listen_signs_with_a_given_secret_and_begins_at_a_cursor() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    check(async |app| {
        let sink = Sink::start().await;
        sink.respond(|_| Some(status(202)));
        let sid = app.partner.sid.to_string();
        let tail = ["events", "tail", "--partner", &sid, "--types", "did_group.updated"];
        let past = shortline(&app.database, &[&tail[..], &["--snapshot", "--once"]].concat());
        let newest = String::from_utf8(past.stdout).unwrap();
        let newest: Value = serde_json::from_str(newest.lines().last().unwrap()).unwrap();
        let cursor = newest["cursor"].as_str().unwrap();
        rename(app, &app.partner.code_path(), 1).await;
        rename(app, &app.partner.group_path(), 2).await;
        let arguments = ["--forward-to", &sink.url, "--secret", SECRET, "--after", cursor];
        let types = ["--types", "did_group.updated", "--once"];
        let mut listening = Listening::start(app, &[&arguments[..], &types].concat());
        for version in [2, 3] {
            let line = listening.next().await;
            assert!(line.starts_with("202  "), "{line}");
            assert!(line.ends_with(&format!("_{version}")), "{line}");
        }
        assert_eq!(listening.lines.recv().await, None);
        assert!(listening.process.wait().unwrap().success());
        assert_eq!(sink.received().len(), 2);
        assert!(is_signed_by(&sink.received()[0], &json!(SECRET)));
    });
}

#[test]
fn listen_reports_a_program_that_does_not_run() {
    check(async |app| {
        let mut listening = Listening::start(app, &["--forward-to", "http://127.0.0.1:1/"]);
        assert!(listening.next().await.starts_with("signing with whsec_"));
        rename(app, &app.partner.code_path(), 1).await;
        let (line, id) = (listening.next().await, format!("msg_{}_2", app.partner.code_sid));
        assert!(line.contains("Connection refused"), "{line}");
        assert!(line.ends_with(&format!(" ms  short_code.updated  {id}")), "{line}");
    });
}

#[test]
fn listen_rejects_what_is_no_url_and_no_secret() {
    check(async |app| {
        for (arguments, expected) in [
            (["--forward-to", "ftp://127.0.0.1/", "--secret", ""], "must be an absolute URL"),
            (["--forward-to", "http://user@127.0.0.1/", "--secret", ""], "without user info"),
            (["--forward-to", "http://127.0.0.1/", "--secret", "hush"], "must be `whsec_` and"),
        ] {
            let partner = ["events", "listen", "--partner", &app.partner.sid.to_string()];
            let mut command = Command::new(env!("CARGO_BIN_EXE_shortline"));
            let output = command.args(partner).args(arguments).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && text.contains(expected), "{text}");
        }
    });
}
