//! A private PostgreSQL, run with the programs that are installed on the machine.
//!
//! It stops when this process ends for any reason, including SIGKILL.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use nix::unistd::{Uid, User};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

/// The longest time that a server takes to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest wait for the lock of a folder: the server of a killed process needs some time to
/// stop.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// The superuser of the server. It needs no password: only the user of the server can access the
/// socket.
const SUPERUSER: &str = "shortline";

/// Runs the server `$1` on the cluster `$2` with its socket in `$3`. Stops it when standard input
/// is closed, which the kernel does when this process ends for any reason. Then removes the folder
/// `$4`.
const SUPERVISOR: &str = r#"
postgres=$1 cluster=$2 socket=$3 remove=$4
shift 4
PATH=$PATH:/usr/bin:/bin
exec 3<&0
"$postgres" -D "$cluster" -k "$socket" -c listen_addresses= "$@" </dev/null 3<&- &
server=$!
{ read -r _; kill -INT $server; } <&3 2>/dev/null &
reader=$!
exec 3<&-
wait $server
kill $reader 2>/dev/null
rm -rf "$remove"
"#;

/// A running server. It stops when it is dropped.
pub struct PrivateServer {
    supervisor: Child,
    folder: PathBuf,
    socket: PathBuf,
}

impl PrivateServer {
    /// Starts a server with its data in `folder`.
    ///
    /// # Errors
    /// If PostgreSQL is not installed, another server runs in the folder, or this one does not
    /// start.
    pub async fn persistent(folder: &Path) -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let folder = std::path::absolute(folder)?;
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let log = lock(&folder)?;
        let cluster = folder.join("postgresql");
        if !cluster.exists() {
            // The cluster is moved to its place once it is complete.
            let unfinished = folder.join("postgresql.new");
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished)?;
            }
            programs.init(&unfinished)?;
            fs::rename(&unfinished, &cluster)?;
        }
        // The path of the folder may be too long for a socket.
        let socket = programs.user.temporary_folder()?;
        let supervisor = programs.supervise(&cluster, &socket, &socket, &[], log)?;
        Self { supervisor, folder, socket }.ready().await
    }

    /// Starts a server whose data is deleted at the end. It never waits for the disk.
    ///
    /// # Errors
    /// If PostgreSQL is not installed, or the server does not start.
    pub async fn ephemeral() -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let folder = programs.user.temporary_folder()?;
        let log = lock(&folder)?;
        let cluster = folder.join("postgresql");
        programs.init(&cluster)?;
        let no_sync =
            ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"];
        let supervisor = programs.supervise(&cluster, &folder, &folder, &no_sync, log)?;
        Self { supervisor, socket: folder.clone(), folder }.ready().await
    }

    /// Returns the folder of the data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the options of a connection to the database of that name. Creates it if it does not
    /// exist.
    ///
    /// # Errors
    /// If the server is not available.
    pub async fn database(&self, name: &str) -> anyhow::Result<PgConnectOptions> {
        let mut connection = self.options("postgres").connect().await?;
        let exists: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(name)
                .fetch_one(&mut connection)
                .await?;
        if !exists {
            let statement = AssertSqlSafe(format!("create database \"{name}\""));
            sqlx::raw_sql(statement).execute(&mut connection).await?;
        }
        connection.close().await?;
        Ok(self.options(name))
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket)
            .username(SUPERUSER)
            .database(database)
    }

    /// Waits until the server ends, and returns the reason.
    pub async fn ended(&mut self) -> anyhow::Error {
        const POLL: Duration = Duration::from_secs(1);
        loop {
            match self.supervisor.try_wait() {
                Ok(None) => tokio::time::sleep(POLL).await,
                Ok(Some(_)) => {
                    let log = last_lines(&self.folder.join("server.log"));
                    return anyhow!("PostgreSQL ended: {}", log.trim());
                }
                Err(error) => return error.into(),
            }
        }
    }

    async fn ready(mut self) -> anyhow::Result<Self> {
        let started = Instant::now();
        loop {
            match PgConnection::connect_with(&self.options("postgres")).await {
                Ok(connection) => {
                    connection.close().await?;
                    return Ok(self);
                }
                Err(error) if started.elapsed() > START_TIMEOUT => {
                    return Err(error).context("PostgreSQL failed to start");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            if self.supervisor.try_wait()?.is_some() {
                bail!(
                    "PostgreSQL failed to start: {}",
                    last_lines(&self.folder.join("server.log"))
                );
            }
        }
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// Opens and locks the log of the server in `folder`. The lock lasts as long as a process has the
/// file open, so a folder has at most one server.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("server.log");
    let log = File::options().create(true).append(true).open(&path);
    let log = log.with_context(|| format!("cannot write {}", path.display()))?;
    let started = Instant::now();
    loop {
        match log.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another `shortline dev` runs on {}; stop it, or choose another --data DIR",
                    folder.display()
                )
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock server.log"),
        }
    }
    log.set_len(0)?;
    Ok(log)
}

fn last_lines(log: &Path) -> String {
    let mut text = String::new();
    let read = File::open(log).and_then(|mut log| {
        let end = log.seek(SeekFrom::End(0))?;
        log.seek(SeekFrom::Start(end.saturating_sub(1_000)))?;
        log.read_to_string(&mut text)
    });
    if read.is_ok() { text } else { format!("see {}", log.display()) }
}

/// The programs of the server, and the user that runs them.
struct Programs {
    folder: PathBuf,
    user: ServerUser,
}

impl Programs {
    fn find() -> anyhow::Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let configured = Command::new("pg_config").arg("--bindir").output().ok();
        let configured =
            configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        let folder = server_programs(
            env::split_paths(&path)
                .chain(configured)
                .chain(versions("/usr/lib/postgresql", "bin"))
                .chain(versions("/opt/homebrew/opt", "bin"))
                .chain(versions("/usr/local/opt", "bin")),
        )?;
        Ok(Self { folder, user: ServerUser::find()? })
    }

    /// Creates a cluster that sorts text by code point.
    fn init(&self, cluster: &Path) -> anyhow::Result<()> {
        self.user.create_folder(cluster)?;
        let initdb = self
            .command(self.folder.join("initdb"))
            .args([
                "--no-sync",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--username",
                SUPERUSER,
            ])
            .arg("--pgdata")
            .arg(cluster)
            .output()?;
        if initdb.status.success() {
            return Ok(());
        }
        fs::remove_dir_all(cluster)?;
        let message = String::from_utf8_lossy(&initdb.stderr);
        match &self.user {
            ServerUser::Current => bail!("initdb failed: {}", message.trim()),
            ServerUser::Other(user) => {
                let (name, folder) = (&user.name, cluster.display());
                bail!(
                    "initdb failed as the user {name}, which needs access to {folder}: {}",
                    message.trim()
                )
            }
        }
    }

    fn supervise(
        &self,
        cluster: &Path,
        socket: &Path,
        remove: &Path,
        settings: &[&str],
        log: File,
    ) -> anyhow::Result<Child> {
        self.command("/bin/sh")
            .args(["-c", SUPERVISOR, "shortline-postgres"])
            .arg(self.folder.join("postgres"))
            .args([cluster, socket, remove])
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C must not reach the server, which stops after this process.
            .process_group(0)
            .spawn()
            .context("cannot start PostgreSQL")
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        // The user of the server may not have access to the current folder.
        command.current_dir("/");
        if let ServerUser::Other(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

/// Returns the first of these folders that contains the programs of a server, not only of a client.
fn server_programs(mut folders: impl Iterator<Item = PathBuf>) -> anyhow::Result<PathBuf> {
    folders
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .context(
            "the server programs of PostgreSQL (initdb, postgres) are not installed; \
         Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; \
         macOS: brew install postgresql",
        )
}

/// Returns the folders `below` of the versions of PostgreSQL in `folder`, newest first.
fn versions(folder: &str, below: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.trim_start_matches("postgresql").trim_start_matches('@');
            Some((version.parse().ok()?, entry.path().join(below)))
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, path)| path).collect()
}

/// The user that runs the server. PostgreSQL does not run as root.
enum ServerUser {
    Current,
    Other(User),
}

impl ServerUser {
    fn find() -> anyhow::Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self::Current);
        }
        let find = |name| User::from_name(name).ok().flatten();
        let user = find("postgres").or_else(|| find("nobody"));
        user.map(Self::Other).context(
            "PostgreSQL does not run as root, and the users `postgres` and `nobody` do not exist",
        )
    }

    fn create_folder(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        self.own(folder)
    }

    /// Creates a temporary folder with a short path, to which only the server's user has access.
    fn temporary_folder(&self) -> anyhow::Result<PathBuf> {
        let folder = tempfile::Builder::new().prefix("shortline-").tempdir()?.keep();
        self.own(&folder)?;
        Ok(folder)
    }

    fn own(&self, folder: &Path) -> anyhow::Result<()> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        if let Self::Other(user) = self {
            chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_server_programs_are_an_error_of_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let message =
            format!("{:#}", server_programs([folder.path().to_owned()].into_iter()).unwrap_err());
        assert!(message.contains("apt-get install postgresql"), "{message}");
        assert!(!message.contains('\n'), "{message}");
        for program in ["initdb", "postgres"] {
            File::create(folder.path().join(program)).unwrap();
        }
        assert_eq!(server_programs([folder.path().to_owned()].into_iter()).unwrap(), folder.path());
    }
}
