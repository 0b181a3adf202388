//! Requests that wait for an event.

use std::time::{Duration, Instant};

use futures_util::future::join;
use reqwest::Method;
use serde_json::json;
use shortline::auth::Scope;
use tokio::time::sleep;

use super::{EVENTS, cursor, now, types};
use crate::operations::lifecycle::free_port;
use crate::support::{Answer, SECRET, check, check_with, url, wait_until};

#[test]
fn a_waiting_request_returns_with_the_next_event() {
    check(async |app| {
        let (other, server) = app.second_instance().await;
        for base in [&app.base, &other] {
            let place = now(app).await;
            let path = format!("{EVENTS}?wait=20&after={place}");
            let wait = app.get(&path);
            let write = async {
                sleep(Duration::from_millis(300)).await;
                let path = format!("{base}{}", app.partner.code_path());
                let patch = app.request_to(Method::PATCH, &path).bearer_auth(&app.token);
                Answer::to(patch.json(&json!({"name": base}))).await.expect(200);
                Instant::now()
            };
            let (page, written) = join(wait, write).await;
            let page = page.expect(200);
            assert_eq!(types(&page), ["short_code.updated"]);
            assert!(written.elapsed() < Duration::from_secs(5), "{:?}", written.elapsed());
        }
        server.stop(false).await;
    });
}

#[test]
fn a_wait_without_events_ends_with_a_newer_cursor() {
    check(async |app| {
        let place = now(app).await;
        let token = app.token(app.unrelated.sid, &Scope::ALL);
        let patch = app.anonymous(Method::PATCH, &app.unrelated.code_path()).bearer_auth(token);
        let patch = Answer::to(patch.json(&json!({"name": "new"})));
        let began = Instant::now();
        let path = format!("{EVENTS}?wait=1&after={place}");
        let wait = app.get(&path);
        let (page, patched) = join(wait, patch).await;
        patched.expect(200);
        let page = page.expect(200);
        assert!(began.elapsed() >= Duration::from_secs(1));
        assert_eq!(types(&page), Vec::<String>::new());
        // So that a partner without changes does not fall behind what is retained.
        assert_ne!(cursor(&page), place);
    });
}

#[test]
fn a_partner_has_a_limited_number_of_waiting_requests() {
    check_with(&["--events-streams", "2"], async |app| {
        let place = now(app).await;
        let path = format!("{EVENTS}?wait=2&after={place}");
        let waits = join(app.get(&path), app.get(&path));
        let further = async {
            sleep(Duration::from_millis(500)).await;
            let rejected = app.get(&path).await;
            assert_eq!(rejected.header("retry-after"), Some("1"));
            rejected.expect_error(429, "too many requests");
            // A request that does not wait needs no seat, and other partners have their own.
            app.get(&format!("{EVENTS}?after={place}")).await.expect(200);
            let other = app.token(app.unrelated.sid, &Scope::ALL);
            let wait = app.anonymous(Method::GET, &format!("{EVENTS}?wait=1")).bearer_auth(other);
            Answer::to(wait).await.expect(200);
        };
        let ((first, second), ()) = join(waits, further).await;
        first.expect(200);
        second.expect(200);
        app.get(&format!("{EVENTS}?wait=1&after={place}")).await.expect(200);
    });
}

#[test]
fn a_wait_ends_with_the_token() {
    check(async |app| {
        let token = app.token(app.partner.sid, &Scope::ALL);
        let wait = app.anonymous(Method::GET, &format!("{EVENTS}?wait=20")).bearer_auth(&token);
        let suspend = async {
            sleep(Duration::from_millis(200)).await;
            let mut connection = app.connection().await;
            let suspend = "update partners set status = 'suspended' where sid = $1";
            sqlx::query(suspend).bind(app.partner.sid).execute(&mut connection).await.unwrap();
            Instant::now()
        };
        let (answer, suspended) = join(Answer::to(wait), suspend).await;
        answer.expect_error(401, "unauthorized");
        assert!(suspended.elapsed() < Duration::from_secs(8), "{:?}", suspended.elapsed());
        let mut connection = app.connection().await;
        let activate = "update partners set status = 'active' where sid = $1";
        sqlx::query(activate).bind(app.partner.sid).execute(&mut connection).await.unwrap();
    });
}

#[test]
fn a_stop_ends_waits_and_streams_at_once() {
    check(async |app| {
        let listen = format!("127.0.0.1:{}", free_port());
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_shortline"))
            .args(["serve", "--listen", &listen, "--drain-seconds", "5", "--jwt-secret", SECRET])
            .args(["--database-url", &url(&app.database)])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let at = |path: &str| {
            app.request_to(Method::GET, &format!("http://{listen}{path}")).bearer_auth(&app.token)
        };
        let is_ready =
            async || at("/readyz").send().await.is_ok_and(|answer| answer.status() == 200);
        wait_until("the service is ready", is_ready).await;
        let wait = Answer::to(at(&format!("{EVENTS}?wait=25")));
        let stream = async {
            let stream = at(EVENTS).header("accept", "application/x-ndjson").send().await.unwrap();
            stream.text().await.unwrap()
        };
        let stop = async {
            sleep(Duration::from_millis(500)).await;
            let stopped = Instant::now();
            let kill = std::process::Command::new("kill")
                .args(["-TERM", &process.id().to_string()])
                .status();
            assert!(kill.unwrap().success());
            stopped
        };
        let ((page, lines), stopped) = join(join(wait, stream), stop).await;
        assert!(stopped.elapsed() < Duration::from_secs(3), "{:?}", stopped.elapsed());
        assert_eq!(types(&page.expect(200)), Vec::<String>::new());
        let last = lines.lines().last().unwrap();
        assert!(lines.lines().count() >= 2 && last.contains("bookmark"), "{lines}");
        assert!(process.wait().unwrap().success());
    });
}
