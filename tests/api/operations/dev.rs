//! `shortline dev`: the binary, its private PostgreSQL, and the cleanup after it ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{place_files_in_memory, start_timer};

/// A running `shortline dev`.
pub struct Dev {
    process: Child,
    /// Stays open so that the process can write to it.
    _stdout: BufReader<ChildStdout>,
    address: String,
    folder: String,
}

impl Dev {
    pub fn start(flags: &[&str]) -> Self {
        Self::spawn(&mut Self::command(flags))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        // "Shortline listens on http://127.0.0.1:8080 (data in /x; Ctrl-C stops it). Try:"
        let between = |start, end| {
            let rest = line.split_once(start).unwrap_or_else(|| panic!("printed {line:?}")).1;
            rest.split_once(end).unwrap().0.to_owned()
        };
        Self {
            process,
            _stdout: stdout,
            address: between("http://", " "),
            folder: between("data in ", ";"),
        }
    }

    fn command(flags: &[&str]) -> Command {
        start_timer();
        place_files_in_memory();
        let mut command = Command::new(env!("CARGO_BIN_EXE_shortline"));
        command.env("TMPDIR", tempfile::env::temp_dir()).env_remove("DATABASE_URL");
        command.args(["dev", "--listen", "127.0.0.1:0"]).args(flags).stderr(Stdio::null());
        command
    }

    /// Runs the `curl` command of a documentation page with another host.
    pub fn run_sample(&self, curl: &str) -> Value {
        let curl = curl.replace("https://api.carrierx.com", &format!("http://{}", self.address));
        let output = Command::new("sh").args(["-c", &curl]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    fn name_of_sample_group(&self) -> Value {
        let group = "did_groups/41e21049-e5eb-433c-a93d-d57417b1863c";
        let url = format!("http://{}/core/v2/phonenumber/{group}", self.address);
        self.run_sample(&format!(
            "curl {url} -H 'Authorization: Bearer 5ebc03d6-8b2b-44ad-bf65-72d4f1491dda'"
        ))["name"]
            .clone()
    }

    fn rename_sample_group(&self) {
        self.run_sample(include_str!("../samples/update-did-group.sh"));
    }

    fn signal(&self, signal: &str) {
        let sent =
            Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn end(&mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.process.wait().unwrap().code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        wait_until("the server is gone", || !server_runs_in(&self.folder));
    }
}

fn server_runs_in(folder: &str) -> bool {
    let running = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    String::from_utf8_lossy(&running.stdout)
        .lines()
        .any(|line| line.contains(folder) && !line.contains("shortline dev"))
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "not within 10 seconds: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder that the user of the server can enter.
fn data_folder() -> tempfile::TempDir {
    place_files_in_memory();
    tempfile::Builder::new().prefix("shortline-dev-").tempdir().unwrap()
}

#[test]
fn ctrl_c_stops_the_server_and_removes_ephemeral_data() {
    let mut dev = Dev::start(&["--ephemeral"]);
    assert!(server_runs_in(&dev.folder));
    assert_eq!(dev.end("-INT"), Some(0));
    assert!(!server_runs_in(&dev.folder));
    assert!(!Path::new(&dev.folder).exists());
}

#[test]
fn the_console_of_dev_offers_the_demo_token() {
    let dev = Dev::start(&["--ephemeral"]);
    let url = format!("http://{}/console/settings.json", dev.address);
    let settings = dev.run_sample(&format!("curl {url}"));
    let expected = json!({"demo_token": "5ebc03d6-8b2b-44ad-bf65-72d4f1491dda", "mode": "on"});
    assert_eq!(settings, expected);
}

#[test]
fn sigkill_leaves_no_server_running() {
    let mut dev = Dev::start(&["--ephemeral"]);
    dev.end("-KILL");
    wait_until("the folder is gone", || !Path::new(&dev.folder).exists());
    assert!(!server_runs_in(&dev.folder));
}

#[test]
fn data_survives_restarts_and_sigkill() {
    let folder = data_folder();
    let flags = ["--data", folder.path().to_str().unwrap()];
    let mut dev = Dev::start(&flags);
    dev.rename_sample_group();
    dev.end("-KILL");
    // Immediately: the previous server may still be stopping.
    let dev = Dev::start(&flags);
    assert_eq!(dev.name_of_sample_group(), "my_did_group");
}

#[test]
fn a_data_folder_is_used_by_one_process_at_a_time() {
    let folder = data_folder();
    let flags = ["--data", folder.path().to_str().unwrap()];
    let _first = Dev::start(&flags);
    let second = Dev::command(&flags).stderr(Stdio::piped()).output().unwrap();
    assert!(!second.status.success());
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains("another `shortline dev` runs on"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn a_closed_log_pipe_does_not_stop_the_service() {
    let mut dev = Dev::spawn(Dev::command(&["--ephemeral"]).stderr(Stdio::piped()));
    drop(dev.process.stderr.take());
    dev.rename_sample_group();
    assert_eq!(dev.name_of_sample_group(), "my_did_group");
    assert_eq!(dev.end("-TERM"), Some(0));
}

#[test]
fn database_url_is_ignored_with_a_warning() {
    let mut process = Dev::command(&["--ephemeral"])
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut warning = String::new();
    BufReader::new(process.stderr.take().unwrap()).read_line(&mut warning).unwrap();
    let mut welcome = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut welcome).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(warning.contains("never uses DATABASE_URL"), "{warning}");
    assert!(welcome.contains("Shortline listens on"), "{welcome}");
}

#[test]
fn foreign_hosts_and_origins_are_rejected() {
    let dev = Dev::start(&["--ephemeral", "--allow-host", "dev.example.com"]);
    let port = dev.address.rsplit_once(':').unwrap().1;
    let status = |header: &str| {
        let url = format!("http://{}/healthz", dev.address);
        let command = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", header, &url];
        let output = Command::new("curl").args(command).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for served in [
        "Host: localhost".to_owned(),
        format!("Host: [::1]:{port}"),
        "Host: dev.example.com".to_owned(),
        "Origin: http://localhost:3000".to_owned(),
        "Origin: http://127.0.0.1".to_owned(),
    ] {
        assert_eq!(status(&served), "200", "{served}");
    }
    for foreign in [
        "Host: mallory.example",
        "Host: 127.0.0.1.mallory.example",
        "Origin: https://mallory.example",
        "Origin: null",
        "Origin: http://localhost.mallory.example",
    ] {
        assert_eq!(status(foreign), "400", "{foreign}");
    }
}

#[test]
fn it_ends_with_a_message_when_its_server_dies() {
    let mut dev = Dev::spawn(Dev::command(&["--ephemeral"]).stderr(Stdio::piped()));
    let pattern = format!("postgres -D {}", dev.folder);
    assert!(Command::new("pkill").args(["-KILL", "-f", &pattern]).status().unwrap().success());
    let started = Instant::now();
    let status = loop {
        if let Some(status) = dev.process.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "it goes on without its server");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(!status.success());
    let mut message = String::new();
    let mut stderr = dev.process.stderr.take().unwrap();
    std::io::Read::read_to_string(&mut stderr, &mut message).unwrap();
    assert!(message.contains("PostgreSQL ended"), "{message}");
}

#[test]
fn the_environment_of_postgresql_is_not_used() {
    let mut command = Dev::command(&["--ephemeral"]);
    command.envs([
        ("PGSSLMODE", "require"),
        ("PGSSLROOTCERT", "/nothing"),
        ("PGHOST", "db.example"),
        ("PGPORT", "1"),
        ("PGUSER", "nobody"),
        ("PGDATABASE", "other"),
        ("PGOPTIONS", "-c nothing=1"),
        ("PGDATA", "/nothing"),
    ]);
    let mut dev = Dev::spawn(&mut command);
    dev.rename_sample_group();
    assert_eq!(dev.name_of_sample_group(), "my_did_group");
    assert_eq!(dev.end("-INT"), Some(0));
}
