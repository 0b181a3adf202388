//! Startup, probes and shutdown.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use shortline::startup::Application;
use sqlx::ConnectOptions;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{
    Answer, Contents, SECRET, check, check_database, code_path, plain_client, settings, url,
    wait_at_most, wait_until,
};

#[test]
fn probes_need_no_token() {
    check(async |app| {
        for probe in ["/healthz", "/readyz"] {
            Answer::to(app.anonymous(Method::GET, probe)).await.expect(200);
        }
    });
}

#[test]
fn a_valid_request_id_is_returned_and_an_invalid_one_is_replaced() {
    check(async |app| {
        let longest = "x".repeat(128);
        let too_long = "x".repeat(129);
        for (sent, accepted) in
            [("call-7", true), (&*longest, true), (&*too_long, false), ("a b", false), ("ä", false)]
        {
            let request =
                app.anonymous(Method::GET, "/nothing").header("x-request-id", sent.as_bytes());
            let answer = Answer::to(request).await;
            assert_eq!(answer.header("x-request-id") == Some(sent), accepted, "{sent}");
            assert!(answer.header("x-request-id").is_some());
        }
    });
}

#[test]
fn a_missing_or_weak_secret_prevents_startup_with_one_line() {
    check_database(Contents::Empty, async |database| {
        for (secret, expected) in [
            (None, "neither SHORTLINE_JWT_SECRET nor SHORTLINE_JWT_KEYS is set"),
            (Some("short"), "has 5 bytes"),
        ] {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shortline"));
            command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", &url(database)]);
            command.args(secret.map(|secret| format!("--jwt-secret={secret}")));
            let output = command.output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success());
            assert!(stderr.contains(expected), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    });
}

#[test]
fn sigterm_drains_requests_and_exits() {
    check_database(Contents::Migrated, async |database| {
        let listen = format!("127.0.0.1:{}", free_port());
        let metrics_listen = format!("127.0.0.1:{}", free_port());
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_shortline"))
            .args(["serve", "--listen", &listen, "--drain-seconds", "1", "--jwt-secret", SECRET])
            .args(["--metrics-listen", &metrics_listen])
            .args(["--database-url", &url(database)])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let client = plain_client();
        let probe =
            async |path: &str| client.get(format!("http://{listen}{path}")).send().await.ok();
        let readiness = async || probe("/readyz").await.map(|answer| answer.status().as_u16());
        wait_until("the service is ready", async || readiness().await == Some(200)).await;
        let healthcheck = || {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shortline"));
            // A proxy of the environment must not be used for a local probe.
            command.env("HTTP_PROXY", "http://127.0.0.1:9").env("ALL_PROXY", "http://127.0.0.1:9");
            command.args(["healthcheck", "--listen", &listen]).output().unwrap().status.success()
        };
        assert!(healthcheck());

        let kill =
            std::process::Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
        assert!(kill.unwrap().success());
        wait_until("the drain has begun", async || readiness().await != Some(200)).await;
        let ready = probe("/readyz").await.expect("the service responds while it drains");
        assert_eq!(ready.status(), 503);
        assert_eq!(ready.headers()["connection"], "close");
        assert_eq!(probe("/healthz").await.unwrap().status(), 200);
        let metrics = client.get(format!("http://{metrics_listen}/metrics")).send().await;
        assert_eq!(metrics.unwrap().status(), 200);
        let ended = tokio::task::spawn_blocking(move || process.wait().unwrap());
        assert_eq!(ended.await.unwrap().code(), Some(0));
        assert!(!healthcheck());
    });
}

#[test]
fn a_client_that_drips_its_body_does_not_delay_the_exit() {
    check_database(Contents::Migrated, async |database| {
        let listen = format!("127.0.0.1:{}", free_port());
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_shortline"))
            .args(["serve", "--listen", &listen, "--drain-seconds", "1", "--jwt-secret", SECRET])
            .args(["--database-url", &url(database)])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let client = plain_client();
        let ready = async || client.get(format!("http://{listen}/readyz")).send().await.is_ok();
        wait_until("the service is ready", ready).await;
        let mut client = TcpStream::connect(&listen).await.unwrap();
        let head = "POST /core/v2/oauth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        let began = Instant::now();
        let drip = actix_web::rt::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        let kill =
            std::process::Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
        assert!(kill.unwrap().success());
        // The drain, 10 s for requests in flight, and the last write of maintenance.
        wait_at_most(Duration::from_secs(18), "the process ends", async || {
            process.try_wait().unwrap().is_some()
        })
        .await;
        assert!(began.elapsed() > Duration::from_secs(5), "the request did not delay the exit");
        drip.abort();
    });
}

#[test]
fn an_instance_that_waits_for_a_migration_does_not_listen() {
    check_database(Contents::Empty, async |database| {
        let mut migrating = database.connect().await.unwrap();
        let lock = "select pg_advisory_lock(x'73686f72746c696e'::bigint)";
        sqlx::raw_sql(lock).execute(&mut migrating).await.unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut settings = settings(&[]);
        settings.listen = address.parse().unwrap();
        let database = database.clone();
        let starting =
            actix_web::rt::spawn(async move { Application::build(&settings, database).await });
        let waits = "select exists (select from pg_stat_activity
                     where datname = current_database() and pid <> pg_backend_pid()
                         and query like '%advisory%')";
        wait_until("the instance waits", async || {
            sqlx::query_scalar(waits).fetch_one(&mut migrating).await.unwrap()
        })
        .await;
        let refused = TcpStream::connect(&address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        drop(migrating);
        let _application = starting.await.unwrap().unwrap();
        TcpStream::connect(&address).await.unwrap();
    });
}

#[test]
fn writes_recover_after_connections_die() {
    check(async |app| {
        for _ in 0..3 {
            app.patch(&app.partner.code_path(), &json!({"name": "before"})).await.expect(200);
            let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                        where datname = current_database() and pid <> pg_backend_pid()";
            sqlx::raw_sql(kill).execute(&mut app.connection().await).await.unwrap();
            let mut recovered = false;
            for _ in 0..20 {
                let answer = app.patch(&app.partner.code_path(), &json!({"name": "after"})).await;
                recovered = answer.status == 200;
                if recovered {
                    break;
                }
                assert_eq!(answer.header("retry-after"), Some("1"));
                answer.expect_error(503, "service unavailable");
            }
            assert!(recovered);
        }
    });
}

#[test]
fn a_release_starts_on_a_newer_schema() {
    check_database(Contents::Migrated, async |database| {
        let mut connection = sqlx::ConnectOptions::connect(database).await.unwrap();
        let newer = "insert into refinery_schema_history
                     select max(version) + 1, 'next', max(applied_on), '1'
                     from refinery_schema_history";
        sqlx::raw_sql(newer).execute(&mut connection).await.unwrap();
        assert!(Application::build(&settings(&[]), database.clone()).await.is_ok());
    });
}

#[test]
fn an_empty_environment_variable_counts_as_unset() {
    check_database(Contents::Migrated, async |database| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shortline"));
        command.args(["partner", "list", "--json", "--database-url", &url(database)]);
        for variable in
            ["SHORTLINE_TRUSTED_PROXIES", "SHORTLINE_JWT_KEYS", "SHORTLINE_LISTEN", "RUST_LOG"]
        {
            command.env(variable, "");
        }
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "[]\n", "{output:?}");
    });
}

#[test]
fn acknowledged_changes_survive_a_kill() {
    check_database(Contents::Migrated, async |database| {
        let listen = format!("127.0.0.1:{}", free_port());
        let run = |arguments: &[&str]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shortline"));
            command.args(arguments).args(["--listen", &listen, "--jwt-secret", SECRET, "--json"]);
            command.args(["--database-url", &url(database)]).stderr(std::process::Stdio::null());
            command
        };
        let output_of = |arguments: &[&str]| -> serde_json::Value {
            serde_json::from_slice(&run(arguments).output().unwrap().stdout).unwrap()
        };
        let partner = output_of(&["partner", "create", "--name", "x"])["partner_sid"]
            .as_str()
            .unwrap()
            .to_owned();
        let code =
            output_of(&["short-code", "create", "--partner", &partner, "--short-code", "12345"]);
        let token = output_of(&["token", "issue", "--partner", &partner])["access_token"]
            .as_str()
            .unwrap()
            .to_owned();
        let path = code_path(code["short_code_sid"].as_str().unwrap());
        let url = format!("http://{listen}{path}");
        let client = plain_client();
        let mut process = run(&["serve"]).spawn().unwrap();
        let mut acknowledged = Vec::new();
        let get = || client.get(&url).bearer_auth(&token);
        wait_until("the service is ready", async || get().send().await.is_ok()).await;
        for number in 0.. {
            let body = json!({"attributes": {format!("k{number}"): number}});
            match client.patch(&url).bearer_auth(&token).json(&body).send().await {
                Ok(answer) if answer.status() == 200 => acknowledged.push(format!("k{number}")),
                _ => break,
            }
            if acknowledged.len() == 50 {
                process.kill().unwrap();
            }
        }
        assert!(acknowledged.len() >= 50, "{acknowledged:?}");
        process.wait().unwrap();
        let mut process = run(&["serve"]).spawn().unwrap();
        wait_until("the service is ready again", async || get().send().await.is_ok()).await;
        let stored: serde_json::Value = get().send().await.unwrap().json().await.unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        for key in acknowledged {
            assert!(stored["attributes"].get(&key).is_some(), "{key} was acknowledged and is lost");
        }
    });
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn an_unreachable_database_is_503_and_never_401() {
    check_database(Contents::Migrated, async |database| {
        let settings = settings(&[]);
        let application = Application::build(&settings, database.clone()).await.unwrap();
        let base = format!("http://{}", application.address());
        let handle = application.handle();
        actix_web::rt::spawn(application.run_until_stopped());
        let client = plain_client();
        // The database rejects connections, like a server that is starting.
        let mut connection =
            sqlx::ConnectOptions::connect(&database.clone().database("postgres")).await.unwrap();
        let name = database.get_database().unwrap();
        let reject = format!("alter database {name} allow_connections false");
        sqlx::raw_sql(sqlx::AssertSqlSafe(reject)).execute(&mut connection).await.unwrap();
        let path = code_path(uuid::Uuid::new_v4());
        let token = uuid::Uuid::new_v4();
        let request = client.patch(format!("{base}{path}")).bearer_auth(token).json(&json!({}));
        let answer = Answer::to(request).await;
        assert_eq!(answer.header("retry-after"), Some("1"));
        answer.expect_error(503, "service unavailable");
        Answer::to(client.get(format!("{base}/readyz")))
            .await
            .expect_error(503, "service unavailable");
        Answer::to(client.get(format!("{base}/healthz"))).await.expect(200);
        handle.stop(false).await;
    });
}

#[test]
fn three_instances_start_at_once_on_an_empty_database() {
    check_database(Contents::Empty, async |database| {
        let settings = settings(&[]);
        let started =
            join_all((0..3).map(|_| Application::build(&settings, database.clone()))).await;
        assert!(started.iter().all(Result::is_ok));
        let mut connection = database.connect().await.unwrap();
        let applied = "select count(*) = count(distinct version), max(version)
                       from refinery_schema_history";
        let applied: (bool, i32) =
            sqlx::query_as(applied).fetch_one(&mut connection).await.unwrap();
        assert_eq!(applied, (true, shortline::store::migrations::newest()));
    });
}
