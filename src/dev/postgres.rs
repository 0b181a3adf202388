//! A private PostgreSQL from the server programs of the machine, which ends when we end, however we end.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::unistd::{Uid, User};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

/// How long a server may take to start, or one that is going to be gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long we wait for the lock of a folder: a server whose master was killed needs a moment to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// The server's superuser: ours alone, since nobody else reaches the socket.
const SUPERUSER: &str = "shortline";

/// Runs the server `$1` on the cluster `$2` with its socket in `$3`, until our end of standard input closes; then removes the
/// folder `$4`. It sees us go by exit, panic and SIGKILL alike.
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

/// A running server.
pub struct PrivateServer {
    supervisor: Child,
    folder: PathBuf,
    socket: PathBuf,
}

impl PrivateServer {
    /// Starts a server that keeps its data in `folder`.
    ///
    /// # Errors
    /// Where PostgreSQL is not installed, another server runs in the folder, or this one does not start.
    pub async fn persistent(folder: &Path) -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let folder = std::path::absolute(folder)?;
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let log = lock(&folder)?;
        let cluster = folder.join("postgresql");
        if !cluster.exists() {
            // Moved to its place only when it is whole.
            let unfinished = folder.join("postgresql.new");
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished)?;
            }
            programs.init(&unfinished)?;
            fs::rename(&unfinished, &cluster)?;
        }
        // Not in the folder itself, whose path may be longer than a socket's can be.
        let socket = programs.user.temporary_folder()?;
        let supervisor = programs.supervise(&cluster, &socket, &socket, &[], log)?;
        Self { supervisor, folder, socket }.ready().await
    }

    /// Starts a server that keeps nothing, not even for a crash of the machine.
    ///
    /// # Errors
    /// Where PostgreSQL is not installed, or the server does not start.
    pub async fn ephemeral() -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let folder = programs.user.temporary_folder()?;
        let log = lock(&folder)?;
        let cluster = folder.join("postgresql");
        programs.init(&cluster)?;
        let hasty =
            ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"];
        let supervisor = programs.supervise(&cluster, &folder, &folder, &hasty, log)?;
        Self { supervisor, socket: folder.clone(), folder }.ready().await
    }

    /// Where the data is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The database of that name, which is created where it is not there.
    ///
    /// # Errors
    /// Where the server is away.
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

    async fn ready(mut self) -> anyhow::Result<Self> {
        let started = Instant::now();
        loop {
            match PgConnection::connect_with(&self.options("postgres")).await {
                Ok(connection) => {
                    connection.close().await?;
                    return Ok(self);
                }
                Err(error) if started.elapsed() > PATIENCE => {
                    return Err(error).context("PostgreSQL does not start");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            if self.supervisor.try_wait()?.is_some() {
                bail!("PostgreSQL does not start: {}", last_lines(&self.folder.join("server.log")));
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

/// The log of the server in `folder`, locked for as long as anybody of ours writes to it: one server a folder.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("server.log");
    let log = File::options().create(true).append(true).open(&path);
    let log = log.with_context(|| format!("cannot write {}", path.display()))?;
    let started = Instant::now();
    loop {
        match log.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
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

/// The server programs, and the user that they run as.
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

    /// Makes a cluster, which sorts text by code point.
    fn init(&self, cluster: &Path) -> anyhow::Result<()> {
        self.user.create_folder(cluster)?;
        let made = self
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
        if made.status.success() {
            return Ok(());
        }
        fs::remove_dir_all(cluster)?;
        let said = String::from_utf8_lossy(&made.stderr);
        match &self.user {
            ServerUser::Ourselves => bail!("initdb failed: {}", said.trim()),
            ServerUser::Other(user) => {
                let (name, folder) = (&user.name, cluster.display());
                bail!(
                    "initdb failed, as the user {name}, who must be able to enter {folder}: {}",
                    said.trim()
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
            // Ctrl-C is for us; the server follows.
            .process_group(0)
            .spawn()
            .context("cannot start PostgreSQL")
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        // Not ours, which the server's user may not be allowed to enter.
        command.current_dir("/");
        if let ServerUser::Other(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

/// The first of these folders that holds the programs of a server, not only of a client.
fn server_programs(mut folders: impl Iterator<Item = PathBuf>) -> anyhow::Result<PathBuf> {
    folders.find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file()).context(
        "the server programs of PostgreSQL (initdb, postgres) are not installed; \
         Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; macOS: brew install postgresql",
    )
}

/// The newest first.
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

/// Whom the server runs as: PostgreSQL refuses to run as root.
enum ServerUser {
    Ourselves,
    Other(User),
}

impl ServerUser {
    fn find() -> anyhow::Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self::Ourselves);
        }
        let named = |name| User::from_name(name).ok().flatten();
        let user = named("postgres").or_else(|| named("nobody"));
        user.map(Self::Other).context(
            "PostgreSQL does not run as root, and there is neither a user postgres nor nobody",
        )
    }

    fn create_folder(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        self.own(folder)
    }

    /// A new folder for the server alone, with a short path.
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
    fn without_server_programs_it_says_in_one_line_what_to_install() {
        let folder = tempfile::tempdir().unwrap();
        let said =
            format!("{:#}", server_programs([folder.path().to_owned()].into_iter()).unwrap_err());
        assert!(said.contains("apt-get install postgresql") && !said.contains('\n'), "{said}");
        for program in ["initdb", "postgres"] {
            File::create(folder.path().join(program)).unwrap();
        }
        assert_eq!(server_programs([folder.path().to_owned()].into_iter()).unwrap(), folder.path());
    }
}
