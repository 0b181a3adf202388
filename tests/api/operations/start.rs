//! What a start waits for, and the signals that end it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::support::{Contents, SECRET, check_database, url, wait_until};

/// The key of the lock that a migration holds.
const LOCK: i64 = 0x7368_6f72_746c_696e;
/// The longest time that another session's migration is waited for.
const LIMIT: Duration = Duration::from_secs(60);

fn start(database: &PgConnectOptions, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_shortline"))
        .args(arguments)
        .args(["--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--log-format", "text"])
        .args(["--database-url", &url(database)])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn first_line(process: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(process.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

/// Sends a signal and returns how the process ended. It must end within two seconds.
async fn end(process: &mut Child, signal: &str) -> ExitStatus {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    let sent = Instant::now();
    let mut status = None;
    wait_until("the process ends", async || {
        status = process.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
    status.unwrap()
}

/// Whether a process handles SIGTERM and SIGINT. Process 1 ignores signals without a handler.
fn handles_signals(pid: u32) -> bool {
    const SIGNALS: u64 = 1 << (15 - 1) | 1 << (2 - 1);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & SIGNALS == SIGNALS
}

#[test]
fn a_start_says_that_it_waits_for_a_migration_and_signals_end_it() {
    check_database(Contents::Migrated, async |database| {
        let mut holder = database.connect().await.unwrap();
        let lock = "select pg_advisory_lock($1)";
        sqlx::query(lock).bind(LOCK).execute(&mut holder).await.unwrap();
        let pid: i32 =
            sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut holder).await.unwrap();
        for (command, signal, status) in [("serve", "-TERM", 143), ("migrate", "-INT", 130)] {
            let mut process = start(database, &[command]);
            let line = first_line(&mut process);
            assert!(line.contains("waiting for the lock for migrations"), "{line}");
            assert!(line.contains(&format!("process {pid}")), "{line}");
            assert!(!cfg!(target_os = "linux") || handles_signals(process.id()));
            assert_eq!(end(&mut process, signal).await.code(), Some(status));
        }
        holder.close().await.unwrap();
    });
}

#[test]
fn a_start_waits_for_a_migration_for_a_limited_time() {
    check_database(Contents::Migrated, async |database| {
        let mut holder = database.connect().await.unwrap();
        let lock = "select pg_advisory_lock($1)";
        sqlx::query(lock).bind(LOCK).execute(&mut holder).await.unwrap();
        let began = Instant::now();
        let mut process = start(database, &["migrate"]);
        first_line(&mut process);
        let rest = tokio::task::spawn_blocking(move || {
            let mut rest = String::new();
            process.stderr.as_mut().unwrap().read_to_string(&mut rest).unwrap();
            assert!(!process.wait().unwrap().success());
            rest
        });
        let rest = rest.await.unwrap();
        assert!(rest.contains("another session has held the lock for migrations"), "{rest}");
        assert_eq!(rest.lines().count(), 1, "{rest}");
        let took = began.elapsed();
        assert!((LIMIT..LIMIT + Duration::from_secs(5)).contains(&took), "{took:?}");
        holder.close().await.unwrap();
    });
}

#[test]
fn a_signal_ends_a_command_that_waits_for_its_input() {
    check_database(Contents::Tenants, async |database| {
        let sid = crate::support::PARTNER.sid.to_string();
        let create = ["login", "create", "--partner", &sid, "--login", "x"];
        for (signal, status) in [("-TERM", 143), ("-INT", 130)] {
            let mut process = start(database, &create);
            let pid = process.id();
            wait_until("signals are handled", async || handles_signals(pid)).await;
            assert_eq!(end(&mut process, signal).await.code(), Some(status));
        }
    });
}
