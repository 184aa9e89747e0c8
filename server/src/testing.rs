//! Fixtures for this crate's tests: trees, manifests, reports, a configured
//! directory. Everything is real; nothing stands in for something else.

pub(crate) mod containers;

use std::convert::Infallible;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use congruent_protocol::contract::{Class, Contract, Terms};
use congruent_protocol::decision::{Decision, Severity, Target, Verdict};
use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::drift::Finding;
use congruent_protocol::enrolment::SealKey as FirstSeal;
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::key::SecretKey;
use congruent_protocol::ledger::Ledger;
use congruent_protocol::manifest::{
    Baked, EntriesWriter, ListedEntry, ManifestKind, Origin, PackedSection, Predicate, write_manifest,
};
use congruent_protocol::path::TreePath;
use congruent_protocol::recompute::recompute;
use congruent_protocol::report::{Facts, Outcome, REPORT_SCHEMA, Report, SetChange, seal};
use congruent_protocol::seal::SealKey;
use congruent_protocol::tree::{Contribution, TreeHasher};
use congruent_protocol::verification::{
    Coverage, Gap, ManifestId, Protected, State, SweepMode, VERIFICATION_SCHEMA, Verification,
};
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::config::{Config, Group, GroupDescription, ManifestRef, Mode, TrustDescription};
use crate::store::{Database, EnrolmentRow, NewDecision, NewReport};
use crate::subject::SubjectId;

pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

pub(crate) fn file(content: &[u8]) -> Entry {
    let content_digest = Algorithm::Blake3.digest(content);
    let node = Node::File { size: content.len() as u64, content: Some(content_digest) };
    Entry { node, mode: 0o755, ..Entry::empty() }
}

/// How much of [`tree`] the default contract protects.
pub(crate) const PROTECTED: Protected = Protected { entries: 5, of: 8 };

/// A root with `/bin/tool`, `/etc/motd`, `/proc` and `/tmp`.
pub(crate) fn tree() -> Vec<ListedEntry> {
    let directory = || Entry { mode: 0o755, ..Entry::empty() };
    [
        ("/", directory()),
        ("/bin", directory()),
        ("/bin/tool", file(b"tool")),
        ("/etc", directory()),
        ("/etc/motd", file(b"hello")),
        ("/proc", directory()),
        ("/tmp", directory()),
        ("/tmp/baked", file(b"")),
    ]
    .map(|(at, entry)| ListedEntry { path: path(at), entry })
    .to_vec()
}

fn reserved() -> Vec<TreePath> {
    vec![path("/var/lib/congruent")]
}

pub(crate) fn root_of(findings: &[Finding]) -> Digest {
    let entries = tree().into_iter().map(Ok);
    let ledger = Ledger::empty(Algorithm::Blake3.digest(b""));
    recompute(entries, Algorithm::Blake3, &Contract::linux(), &reserved(), &ledger, findings).unwrap()
}

pub(crate) fn manifest(version: &str, key: &SecretKey) -> Vec<u8> {
    manifest_of(&tree(), version, key)
}

pub(crate) fn manifest_of(tree: &[ListedEntry], version: &str, key: &SecretKey) -> Vec<u8> {
    manifest_until(tree, version, key, None)
}

/// A manifest that expires.
pub(crate) fn manifest_until(
    tree: &[ListedEntry],
    version: &str,
    key: &SecretKey,
    expires: Option<Timestamp>,
) -> Vec<u8> {
    manifest_under(Contract::linux(), tree, version, key, expires)
}

pub(crate) fn manifest_under(
    contract: Contract,
    tree: &[ListedEntry],
    version: &str,
    key: &SecretKey,
    expires: Option<Timestamp>,
) -> Vec<u8> {
    let (predicate, section) = predicate(tree);
    written(Predicate { version: version.to_owned(), contract, expires, ..predicate }, vec![section], key)
}

/// The predicate of a tree, and its packed entries.
fn predicate(tree: &[ListedEntry]) -> (Predicate, Vec<u8>) {
    let mut hasher = TreeHasher::new(Algorithm::Blake3);
    let mut writer = EntriesWriter::new(Vec::new(), Algorithm::Blake3).unwrap();
    for listed in tree {
        hasher.push(&listed.path, Contribution::of(&listed.entry, Terms::immutable())).unwrap();
        writer.push(&listed.path, &listed.entry).unwrap();
    }
    let (section, entries) = writer.finish().unwrap();
    let predicate = Predicate {
        name: "web".to_owned(),
        version: "1.4.2".to_owned(),
        kind: ManifestKind::Base,
        root: hasher.finish(),
        entries,
        layers: Vec::new(),
        contract: Contract::linux(),
        reserved: reserved(),
        baked: Baked {
            at: time("2026-01-02T03:04:05Z"),
            by: "builder".to_owned(),
            on: "ci".to_owned(),
            with: "congruent 0.1.0".to_owned(),
        },
        expires: None,
        origin: Origin::default(),
        packages: None,
        lint: None,
    };
    (predicate, section)
}

/// A signed manifest of these packed sections.
fn written(predicate: Predicate, sections: Vec<Vec<u8>>, key: &SecretKey) -> Vec<u8> {
    let packed = |section: Vec<u8>| {
        let length = section.len() as u64;
        PackedSection::new(Cursor::new(section), length)
    };
    let sections = sections.into_iter().map(packed).collect();
    let mut out = Vec::new();
    write_manifest(&mut out, predicate, std::slice::from_ref(key), sections).unwrap();
    out
}

/// `/bin/tool` with other content, and all that follows from it.
pub(crate) fn tampered() -> Vec<Finding> {
    let baked = file(b"tool");
    vec![Finding::compare(&path("/bin/tool"), Terms::immutable(), &baked, &file(b"evil")).unwrap()]
}

/// A file that was not baked.
pub(crate) fn added(at: &str) -> Finding {
    Finding::added(&path(at), Class::Immutable, (&file(b"new")).into())
}

pub(crate) fn coverage(gaps: &[&str]) -> Coverage {
    Coverage {
        mode: SweepMode::Full,
        entries_expected: tree().len() as u64,
        entries_seen: tree().len() as u64,
        entries_recalled: 0,
        bytes_hashed: 9,
        direct: None,
        unreadable: gaps.iter().map(|at| Gap { path: path(at), reason: "denied".to_owned() }).collect(),
        unstable: vec![],
        hidden: vec![],
        reserved: vec![],
        mounts: vec![],
        first_seen: vec![],
        unchecked: vec![],
        started_at: time("2026-03-01T00:00:00Z"),
        finished_at: time("2026-03-01T00:00:09Z"),
    }
}

/// An honest full sweep of [`tree`] that found `findings`.
pub(crate) fn verified(findings: Vec<Finding>, gaps: &[&str]) -> Verification {
    let coverage = coverage(gaps);
    Verification {
        schema_version: VERIFICATION_SCHEMA,
        manifest: ManifestId {
            name: "web".to_owned(),
            version: "1.4.2".to_owned(),
            root: root_of(&[]),
            signed_by: vec![],
        },
        add_ons: vec![],
        baked_root: root_of(&[]),
        protected: PROTECTED,
        state: State::of(!findings.is_empty(), &coverage),
        observed_root: root_of(&findings),
        conditional: coverage.has_gaps(),
        findings,
        coverage,
    }
}

pub(crate) fn facts() -> Facts {
    Facts {
        host_name: Some("web-1.example".to_owned()),
        architecture: "x86_64".to_owned(),
        cpus: 2,
        ..Facts::default()
    }
}

/// The report number `sequence` of `node`, at a time that rises with it.
pub(crate) fn report(node: &str, sequence: u64, outcome: Outcome) -> Report {
    Report {
        schema_version: REPORT_SCHEMA,
        node: node.to_owned(),
        boot: "boot-1".to_owned(),
        chain: format!("enr_{node}"),
        sequence,
        previous: None,
        lost: 0,
        first_values: 0,
        agent_version: "0.1.0".to_owned(),
        reported_at: time("2026-03-01T00:00:10Z"),
        outcome,
        container: None,
        containers: None,
        facts: facts(),
    }
}

/// The report of a sweep that began after the one numbered before it had ended.
pub(crate) fn sweep(node: &str, sequence: u64, findings: Vec<Finding>) -> Report {
    let mut verification = verified(findings, &[]);
    let later = SignedDuration::from_secs(10 * (sequence as i64 - 1));
    verification.coverage.started_at += later;
    verification.coverage.finished_at += later;
    report(node, sequence, Outcome::Verified(Box::new(verification)))
}

/// An honest report that no row holds: what could not be read is told at length.
pub(crate) fn large(node: &str, sequence: u64) -> Report {
    let mut noise = vec![0; crate::store::MAX_ROW_BYTES + 1000];
    blake3::Hasher::new().update(&sequence.to_le_bytes()).finalize_xof().fill(&mut noise);
    let Outcome::Verified(mut verification) = sweep(node, sequence, vec![]).outcome else {
        panic!("a sweep verifies")
    };
    let reason = noise.iter().map(|byte| format!("{byte:02x}")).collect();
    verification.coverage.unreadable = vec![Gap { path: path("/etc/motd"), reason }];
    verification.conditional = true;
    verification.state = State::Incomplete;
    report(node, sequence, Outcome::Verified(verification))
}

/// The first report of a node, as it stands in its row.
pub(crate) fn new_report(node: &str) -> NewReport {
    let digest = Algorithm::Blake3.digest(node.as_bytes());
    NewReport {
        node: node.to_owned(),
        container: None,
        chain: 1,
        sequence: 1,
        digest,
        boot: "boot-1".to_owned(),
        chain_id: format!("enr_{node}"),
        agent_version: "0.1.0".to_owned(),
        reported_at: time("2026-03-01T00:00:10Z"),
        received_at: time("2026-03-01T00:00:20Z"),
        state: State::Congruent,
        note: None,
        late: false,
        sweep: None,
        swept: None,
        conditional: false,
        manifest: None,
        observed_root: None,
        findings_total: 0,
        findings_digest: digest,
        beside: None,
    }
}

/// What policy said of a node, or of a container on it.
pub(crate) fn decision(
    node: &str,
    container: Option<&str>,
    outcome: Result<(Verdict, Target), &str>,
) -> NewDecision {
    let outcome = outcome.map(|(action, target)| Decision {
        action,
        target,
        severity: Severity::High,
        reasons: vec![],
        controls: vec![],
    });
    NewDecision {
        subject: SubjectId { node: node.to_owned(), container: container.map(str::to_owned) },
        group: "web".to_owned(),
        at: Timestamp::UNIX_EPOCH,
        report_id: None,
        state: State::Divergent,
        outcome: outcome.map_err(str::to_owned),
        policy_digest: Algorithm::Blake3.digest(b""),
        engine: "none".to_owned(),
        input_digest: Algorithm::Blake3.digest(b""),
    }
}

/// A directory with key, manifest, tokens, secret and `server.toml`.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    /// A database on PostgreSQL, where tests are told to use one.
    server: Option<Database>,
}

/// Set to `postgres`, it has every test that uses a collector's store use PostgreSQL.
const STORE: &str = "CONGRUENT_TEST_STORE";

/// An empty database on a real PostgreSQL.
pub(crate) fn postgres() -> Database {
    // Making it waits for the server, which no task may.
    let making = std::thread::spawn(|| congruent_postgres::shared().database().unwrap());
    Database::server(&making.join().unwrap(), None, None).unwrap()
}

impl Fixture {
    /// A group `web`, held to [`tree`], in which `web-1` and `web-2` are enrolled;
    /// operators have `operator-token`. Who is enrolled where is told by comments in
    /// `server.toml`, since nothing else there says so.
    pub(crate) fn new(mode: &str) -> Self {
        let server = std::env::var(STORE).is_ok_and(|store| store == "postgres").then(postgres);
        let fixture = Self { dir: tempfile::tempdir().unwrap(), server };
        let key = SecretKey::from_seed([1; 32]);
        fixture.write("web.manifest", &manifest("1.4.2", &key));
        fixture.write("pub.pem", key.public().to_pem().as_bytes());
        fixture.write("operator.token", b"operator-token\n");
        fixture.write("platform.secret", WEBHOOK_SECRET.as_bytes());
        fixture.write("server.toml", server_toml(mode).as_bytes());
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o600)).unwrap();
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::load(&self.path("server.toml")).unwrap();
        if let Some(server) = &self.server {
            config.database = server.clone();
        }
        let toml = std::fs::read_to_string(self.path("server.toml")).unwrap();
        for line in toml.lines().filter_map(|line| line.strip_prefix("# node ")) {
            let (node, group) = line.split_once(" in ").unwrap();
            config.nodes.load(&[EnrolmentRow { group: group.to_owned(), ..enrolment(node) }]);
        }
        config
    }
}

/// What signs a node's reports.
fn node_key(node: &str) -> SecretKey {
    SecretKey::from_seed(*Algorithm::Blake3.digest(node.as_bytes()).as_bytes())
}

/// What seals a node's first report.
const FIRST_SEAL: [u8; 32] = [9; 32];

/// The enrolment of a node in the group `web`, with the id `enr_NODE`.
pub(crate) fn enrolment(node: &str) -> EnrolmentRow {
    let public_key = node_key(node).public();
    EnrolmentRow {
        id: format!("enr_{node}"),
        node: node.to_owned(),
        group: "web".to_owned(),
        key: public_key.id().to_string(),
        public_key,
        seal_key: FirstSeal::new(FIRST_SEAL),
        enrolled_at: time("2026-01-01T00:00:00Z"),
        admitted_by: "jt_1".to_owned(),
        agent_version: "0.1.0".to_owned(),
        revoked_at: None,
        revoked_by: None,
        revoked_why: None,
    }
}

/// A report as its node sends it, its set of findings whole.
pub(crate) fn sealed(report: &Report) -> Vec<u8> {
    let Ok(told) = report.clone().try_map(|set| Ok::<_, Infallible>(SetChange::between(None, &set).0));
    sealed_by(&report.node, report.sequence, &serde_json::to_vec(&told).unwrap())
}

/// A payload that `node` signed, and sealed as number `sequence`.
pub(crate) fn sealed_by(node: &str, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut seal_key = SealKey::new(1, FIRST_SEAL);
    seal_key.advance_to(sequence.clamp(1, 1000)).unwrap();
    seal(payload, &node_key(node), &seal_key)
}

/// A version of the group `fleet`, as it would stand in the store: it accepts the
/// fixture's manifest, or nothing.
pub(crate) fn fleet(
    fixture: &Fixture,
    config: &Config,
    version: u64,
    accepts: bool,
    mode: Mode,
) -> Arc<Group> {
    let digest = Algorithm::Blake3.digest(b"the file is named by the closure below");
    let manifest = ManifestRef {
        root: root_of(&[]),
        digest,
        name: "web".to_owned(),
        version: "1.4.2".to_owned(),
        accepted_at: time("2026-03-01T00:00:00Z"),
    };
    let pem = SecretKey::from_seed([1; 32]).public().to_pem();
    let description = GroupDescription {
        environment: "prod".to_owned(),
        mode,
        manifests: if accepts { vec![manifest] } else { vec![] },
        add_ons: vec![],
        trust: TrustDescription { keys: [("pub.pem".to_owned(), pem)].into(), config: None },
        webhook: Some("platform".to_owned()),
    };
    let file_of = |_: &Digest| Arc::new(std::fs::File::open(fixture.path("web.manifest")).unwrap());
    Arc::new(description.build(("fleet", version), &config.webhooks, file_of).unwrap())
}

pub(crate) fn server_toml(mode: &str) -> String {
    format!(
        r#"
listen = "127.0.0.1:0"
tls = false
database = "congruent.db"
operator-token-file = "operator.token"
silent-after = "15m"
retry-schedule = ["0s", "10ms"]

[[group]]
name = "web"
environment = "prod"
mode = "{mode}"
manifests = ["web.manifest"]
trust = ["pub.pem"]
webhook = "platform"

# node web-1 in web
# node web-2 in web

[[webhook]]
name = "platform"
url = "http://127.0.0.1:9/hook"
secret-file = "platform.secret"
"#
    )
}

/// Has every commit fail, from now on, that puts in or changes rows of `table`: as
/// a full disk does, when all that came before went well.
pub(crate) fn fail_commits(database: &Database, table: &str) {
    let Some(file) = database.file() else { return fail_commits_of_server(database, table) };
    let on = |event: &str| {
        format!(
            "CREATE TRIGGER fail_{event} AFTER {event} ON {table} BEGIN INSERT INTO orphans VALUES (1); END;"
        )
    };
    let orphans = "CREATE TABLE parents (id INTEGER PRIMARY KEY);
         CREATE TABLE orphans (id INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);";
    let sql = format!("{orphans}{}{}", on("INSERT"), on("UPDATE"));
    rusqlite::Connection::open(file).unwrap().execute_batch(&sql).unwrap();
}

/// Keeps all writes out, as another program may, until what it gives is dropped.
pub(crate) fn hold_writes(database: &Database) -> std::sync::mpsc::Sender<()> {
    let (database, (release, held)) = (database.clone(), std::sync::mpsc::channel());
    let (holding, begun) = std::sync::mpsc::channel();
    // It waits for the server, which no task may.
    std::thread::spawn(move || {
        let wait = || {
            holding.send(()).unwrap();
            let _ = held.recv();
        };
        match database.file() {
            Some(file) => {
                let other = rusqlite::Connection::open(file).unwrap();
                other.execute_batch("BEGIN IMMEDIATE").unwrap();
                wait();
            }
            None => {
                let mut other = postgres::Client::connect(&database.to_string(), postgres::NoTls).unwrap();
                other.batch_execute("BEGIN; LOCK TABLE probe IN ACCESS EXCLUSIVE MODE").unwrap();
                wait();
            }
        }
    });
    begun.recv().unwrap();
    release
}

fn fail_commits_of_server(database: &Database, table: &str) {
    let sql = format!(
        "CREATE TABLE parents (id BIGINT PRIMARY KEY);
         CREATE TABLE orphans (id BIGINT REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO orphans VALUES (1); RETURN NULL; END $$;
         CREATE TRIGGER fail AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION fail();"
    );
    let url = database.to_string();
    let apply =
        move || postgres::Client::connect(&url, postgres::NoTls).unwrap().batch_execute(&sql).unwrap();
    // It waits for the server, which no task may.
    std::thread::spawn(apply).join().unwrap();
}

/// A clock that stands until it is set.
#[derive(Clone)]
pub(crate) struct StandingClock(Arc<AtomicI64>);

impl StandingClock {
    pub(crate) fn at(text: &str) -> Self {
        Self(Arc::new(AtomicI64::new(time(text).as_microsecond())))
    }

    pub(crate) fn set(&self, text: &str) {
        self.0.store(time(text).as_microsecond(), Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Arc::new(move || Timestamp::from_microsecond(now.load(Ordering::SeqCst)).unwrap())
    }
}

/// Looks again and again until `look` has something; fails after a minute.
pub(crate) async fn wait_for<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
