//! A real PostgreSQL for tests: a cluster of its own in a temporary folder, on loopback and
//! a free port, which ends with the process that started it, however that ends.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// Who owns the clusters: the server refuses to run as root.
const USER: &str = "postgres";
/// Where Debian's packages put their programs, a folder for each version.
const PACKAGES: &str = "/usr/lib/postgresql";
/// How long a server may take to start or stop.
const DEADLINE: Duration = Duration::from_secs(60);

/// A cluster and its server.
pub struct Postgres {
    folder: TempDir,
    port: u16,
    /// The shell that the server ends with; none while it is stopped.
    keeper: Option<Child>,
}

/// One for the whole process, which ends with it.
pub fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    #[expect(clippy::panic, reason = "a test without its database is to fail, and to say so")]
    SHARED.get_or_init(|| {
        Postgres::start().unwrap_or_else(|error| panic!("PostgreSQL cannot start: {error:#}"))
    })
}

impl Postgres {
    /// Makes a cluster and starts its server.
    pub fn start() -> Result<Self> {
        Self::start_in(&std::env::temp_dir())
    }

    /// The same in a folder that its user may pass: on a disk of its own, perhaps. What is
    /// written ahead takes little room.
    pub fn start_in(parent: &Path) -> Result<Self> {
        let folder = owned_folder(parent)?;
        let data = folder.path().join("data");
        let made = as_user(&program("initdb")?)
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres"])
            .args(["--wal-segsize=1", "-D"])
            .arg(&data)
            .output()
            .context("initdb")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut this = Self { folder, port: free_port()?, keeper: None };
        this.start_again()?;
        Ok(this)
    }

    /// A standby that follows this one, as soon as it has caught up.
    pub fn standby(&self) -> Result<Self> {
        let folder = owned_folder(&std::env::temp_dir())?;
        let data = folder.path().join("data");
        let copied = as_user(&program("pg_basebackup")?)
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "--no-sync",
                "-p",
            ])
            .arg(self.port.to_string())
            .arg("-D")
            .arg(&data)
            .output()
            .context("pg_basebackup")?;
        ensure!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        let mut this = Self { folder, port: free_port()?, keeper: None };
        this.start_again()?;
        Ok(this)
    }

    /// Has every commit wait until the standby has it, from when this returns.
    pub fn wait_for_standby(&self) -> Result<()> {
        let mut client = self.client("postgres")?;
        for sql in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
            client.batch_execute(sql).context(sql)?;
        }
        let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        let began = Instant::now();
        while client.query_one(sql, &[])?.get::<_, i64>(0) == 0 {
            ensure!(began.elapsed() < DEADLINE, "no standby follows");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Makes a standby the one that writes.
    pub fn promote(&self) -> Result<()> {
        let promoted =
            as_user(&program("pg_ctl")?).args(["promote", "-w", "-D"]).arg(self.data()).output()?;
        ensure!(promoted.status.success(), "promote: {}", String::from_utf8_lossy(&promoted.stdout));
        Ok(())
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database, and gives its address.
    pub fn database(&self) -> Result<String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// The address of the database of this name.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The address of a database that is on this server or, after a failover, on `other`.
    pub fn url_with(&self, other: &Self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{},127.0.0.1:{}/{database}", self.port, other.port)
    }

    /// Whether the server has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.keeper.as_mut().is_none_or(|keeper| keeper.try_wait().is_ok_and(|end| end.is_some()))
    }

    /// Runs statements in a database.
    pub fn execute(&self, database: &str, sql: &str) -> Result<()> {
        self.client(database)?.batch_execute(sql).context(sql.to_owned())
    }

    /// A connection to a database.
    pub fn client(&self, database: &str) -> Result<postgres::Client> {
        postgres::Client::connect(&self.url(database), postgres::NoTls).context("connect")
    }

    /// Stops the server. `immediate` is as a crash is; else its clients are cut off.
    pub fn stop(&mut self, immediate: bool) -> Result<()> {
        let Some(mut keeper) = self.keeper.take() else { return Ok(()) };
        if let Some(mut orders) = keeper.stdin.take() {
            // Nobody reads it where the server ended by itself.
            let _ = writeln!(orders, "{}", if immediate { "QUIT" } else { "INT" });
        }
        keeper.wait().context("wait for the server's end").map(drop)
    }

    /// Starts the server again, on the same port.
    pub fn start_again(&mut self) -> Result<()> {
        let log = self.folder.path().join("log");
        let mut command = as_user(Path::new("/bin/sh"));
        // The server ends when the pipe does: with the process that holds its other end.
        command
            .args(["-c", r#""$0" "$@" </dev/null & read -r signal; kill -s "${signal:-QUIT}" $!; wait $!"#])
            .arg(program("postgres")?)
            .arg("-D")
            .arg(self.data())
            .args(["-h", "127.0.0.1", "-c", "unix_socket_directories=", "-p"])
            .arg(self.port.to_string());
        let file = std::fs::File::create(&log)?;
        command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file);
        self.keeper = Some(command.spawn().context("start postgres")?);
        let began = Instant::now();
        while self.client("postgres").is_err() {
            if self.has_ended() || began.elapsed() > DEADLINE {
                bail!("the server does not answer: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.stop(true);
    }
}

/// A temporary folder of the user that the server runs as.
fn owned_folder(parent: &Path) -> Result<TempDir> {
    let folder = tempfile::tempdir_in(parent).context("make a folder")?;
    if let Some((user, group)) = other_user()? {
        chown(folder.path(), Some(user), Some(group)).context("give the folder away")?;
    }
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700))?;
    Ok(folder)
}

/// Whom the server runs as, where that is not who runs the tests.
fn other_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let found = users.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(USER)).then_some(())?;
        Some((parts.nth(1)?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    found.map(Some).with_context(|| format!("there is no user {USER}: install Debian's postgresql"))
}

fn as_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Ok(Some((user, group))) = other_user() {
        command.uid(user).gid(group);
    }
    // Where the tests run may be closed to that user.
    command.current_dir("/").env_remove("PGHOST").env_remove("PGPORT");
    command
}

/// A program of the newest version that is installed.
fn program(name: &str) -> Result<PathBuf> {
    let versions = std::fs::read_dir(PACKAGES).with_context(|| format!("{PACKAGES}: run `make setup`"))?;
    let mut found: Vec<_> = versions
        .filter_map(|version| {
            let version = version.ok()?;
            let number: u32 = version.file_name().to_str()?.parse().ok()?;
            let path = version.path().join("bin").join(name);
            path.exists().then_some((number, path))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, path)| path).with_context(|| format!("no {name} in {PACKAGES}: run `make setup`"))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
