use std::sync::Arc;

use congruent_protocol::enrolment::{
    ENROLMENT_SCHEMA, EnrollRequest, Enrolled, Evidence, RenewRequest, Secret,
};
use congruent_protocol::key::SecretKey;
use congruent_protocol::verification::State;
use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;

use super::peer::PeerError;
use super::proof::{ProofError, ProvenKey};
use super::server_certificate::ServerCertificate;
use super::verifier::NodeVerifier;
use super::*;
use crate::config::{Config, Standing};
use crate::ingest::NEVER_REPORTED;
use crate::store::{EnrolmentRow, Store};
use crate::subject::SubjectId;
use crate::testing::{Fixture, StandingClock, fail_commits, time};

const NOON: &str = "2026-03-01T12:00:00Z";
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn authority(folder: &tempfile::TempDir) -> Authority {
    Authority::load_or_make(&AuthorityFiles::in_folder(folder.path()), false, time(NOON)).unwrap()
}

fn key(number: u8) -> KeyPair {
    let pem = SecretKey::from_seed([number; 32]).to_pem();
    KeyPair::try_from(&PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
}

fn request_of(key: &KeyPair) -> String {
    BASE64.encode(CertificateParams::default().serialize_request(key).unwrap().der())
}

fn certificate(authority: &Authority, node: &str, at: &str) -> CertificateDer<'static> {
    let key = ProvenKey::of_request(&request_of(&key(1))).unwrap();
    let issued = authority.issue_to_node(node, &key, time(at), DAY).unwrap();
    CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap()
}

#[test]
fn only_the_key_of_a_request_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "web-9");
    params.subject_alt_names.push(SanType::URI("congruent:node:web-9".try_into().unwrap()));
    let greedy = BASE64.encode(params.serialize_request(&key(1)).unwrap().der());
    let proven = ProvenKey::of_request(&greedy).unwrap();
    assert_eq!(proven.fingerprint(), SecretKey::from_seed([1; 32]).public().id().to_string());
    let issued = authority(&folder).issue_to_node("web 1/é", &proven, time(NOON), DAY).unwrap();
    let peer = Peer::of(&CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap()).unwrap();
    assert_eq!((peer.node.as_str(), peer.key.as_str()), ("web 1/é", proven.fingerprint()));
    assert_eq!(
        (peer.not_before, peer.not_after),
        (time("2026-03-01T11:00:00Z"), time("2026-03-02T12:00:00Z"))
    );
    assert_eq!((issued.renew_at, issued.not_after), (time("2026-03-02T00:00:00Z"), peer.not_after));
}

#[test]
fn requests_that_prove_nothing_are_refused() {
    let good = BASE64.decode(request_of(&key(1)).as_bytes()).unwrap();
    let other_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut long = good.clone();
    long.push(0);
    let check = |text: String| ProvenKey::of_request(&text).map(drop).unwrap_err();
    assert!(matches!(check("!".to_owned()), ProofError::Encoding));
    assert!(matches!(check(BASE64.encode(&vec![0; 9000])), ProofError::Encoding));
    assert!(matches!(check(BASE64.encode(&good[..50])), ProofError::Shape));
    assert!(matches!(check(BASE64.encode(&long)), ProofError::Shape));
    assert!(matches!(check(request_of(&other_key)), ProofError::Algorithm));
    assert!(matches!(check(BASE64.encode(&forged)), ProofError::Signature));
}

#[test]
fn an_authority_is_made_once_completed_when_cut_off_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let files = AuthorityFiles::in_folder(folder.path());
    let load = |has_nodes| Authority::load_or_make(&files, has_nodes, time(NOON));
    let first = load(false).unwrap().fingerprint();
    assert_eq!(load(true).unwrap().fingerprint(), first);
    // Cut off before the certificate was there: the key makes another.
    std::fs::remove_file(&files.certificate).unwrap();
    let completed = load(false).unwrap();
    assert_eq!(load(false).unwrap().fingerprint(), completed.fingerprint());
    let key_of_another = tempfile::tempdir().unwrap();
    authority(&key_of_another);
    let kept = std::fs::read(&files.key).unwrap();
    std::fs::copy(key_of_another.path().join("ca.key"), &files.key).unwrap();
    assert!(matches!(load(true), Err(AuthorityError::Unmatched { .. })));
    std::fs::remove_file(&files.key).unwrap();
    for has_nodes in [false, true] {
        assert!(matches!(load(has_nodes), Err(AuthorityError::Gone(_))));
    }
    std::fs::write(&files.key, kept).unwrap();
    assert!(matches!(load(true), Err(AuthorityError::Open(_))), "a key that everybody may read");
}

#[test]
fn what_is_no_authority_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = AuthorityFiles { is_given: true, ..AuthorityFiles::in_folder(folder.path()) };
    let load = |at: &str| Authority::load_or_make(&files, false, time(at)).map(drop).unwrap_err().to_string();
    assert!(load(NOON).contains("ca.key"), "the user's own is never made");
    authority(&folder);
    assert!(load("2046-03-01T12:00:00Z").contains("set the clock"));
    assert!(load("2016-03-01T12:00:00Z").contains("set the clock"));
    let leaf = CertificateParams::default();
    let own = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    write_new(&folder.path().join("leaf.key"), 0o600, own.serialize_pem().as_bytes()).unwrap();
    std::fs::write(folder.path().join("leaf.pem"), leaf.self_signed(&own).unwrap().pem()).unwrap();
    let leaf = AuthorityFiles {
        certificate: folder.path().join("leaf.pem"),
        key: folder.path().join("leaf.key"),
        is_given: true,
    };
    let refused = Authority::load(&leaf, time(NOON)).map(drop).unwrap_err();
    assert!(matches!(refused, AuthorityError::NotAnAuthority(_)));
    for (file, says) in [(&leaf.certificate, "no certificate"), (&leaf.key, "no private key")] {
        std::fs::write(file, "nothing").unwrap();
        let refused = Authority::load(&leaf, time(NOON)).map(drop).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn certificates_are_taken_in_their_time_and_in_grace_and_from_our_authority_only() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ours = authority(&folder);
    let verifier = NodeVerifier::new(&ours, SignedDuration::from_hours(7 * 24)).unwrap();
    let good = certificate(&ours, "web-1", NOON);
    let foreign = certificate(&authority(&other), "web-1", NOON);
    let server =
        ours.issue_to_server(&["localhost".to_owned()], time(NOON)).unwrap().certified.cert[0].clone();
    for (shown, at, is_taken) in [
        (&good, NOON, true),
        (&good, "2026-03-02T11:59:59Z", true),
        // Over, and to be renewed.
        (&good, "2026-03-09T11:59:59Z", true),
        (&good, "2026-03-09T12:00:01Z", false),
        (&good, "2036-03-01T12:00:00Z", false),
        // Before its time, which the API tells of.
        (&good, "2026-02-01T12:00:00Z", true),
        (&foreign, NOON, false),
        (&foreign, "2026-03-03T12:00:00Z", false),
        (&server, NOON, false),
    ] {
        let now = u64::try_from(time(at).as_second()).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        assert_eq!(verifier.verify_client_cert(shown, &[], now).is_ok(), is_taken, "{at}");
    }
}

#[test]
fn a_certificate_that_names_no_node_or_two_is_no_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority(&folder);
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    for names in [vec![], vec![uri("spiffe://x")], vec![uri("congruent:node:a"), uri("congruent:node:b")]] {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let made = params.signed_by(&key(1), &ours.issuer).unwrap();
        assert!(matches!(Peer::of(made.der()), Err(PeerError::NoNode)));
    }
    assert!(matches!(Peer::of(&CertificateDer::from(vec![0x30, 0])), Err(PeerError::Shape)));
}

#[test]
fn the_collectors_own_certificate_is_made_anew_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let clock = StandingClock::at(NOON);
    let names = vec!["collector.example".to_owned(), "::1".to_owned()];
    let shown = ServerCertificate::new(Arc::new(authority(&folder)), names, clock.clock()).unwrap();
    let first = shown.current();
    clock.set("2026-03-16T11:00:00Z");
    assert!(Arc::ptr_eq(&first, &shown.current()));
    clock.set("2026-03-16T12:00:00Z");
    let second = shown.current();
    assert!(!Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&second, &shown.current()));
    assert_ne!(first.cert[0], second.cert[0]);
    assert_eq!(first.cert[1], second.cert[1], "the authority goes with it");
}

/// A collector's part that enrols, over a real store.
struct Bench {
    _fixture: Fixture,
    enroller: Enroller,
    clock: StandingClock,
}

impl Bench {
    async fn new() -> Self {
        let fixture = Fixture::new("report-only");
        let config = Arc::new(fixture.config());
        let store = Store::open(&config.database).unwrap();
        let clock = StandingClock::at(NOON);
        let authority = Authority::load_or_make(&config.identity.authority, false, time(NOON)).unwrap();
        let join = Box::new(JoinTokens { store: store.clone(), clock: clock.clock() });
        let enroller = Enroller {
            config,
            store,
            clock: clock.clock(),
            authority: Arc::new(authority),
            join,
            agents_url: "https://collector:8441".to_owned(),
        };
        Self { _fixture: fixture, enroller, clock }
    }

    fn config(&self) -> &Config {
        &self.enroller.config
    }

    fn now(&self) -> Timestamp {
        (self.enroller.clock)()
    }

    async fn token(&self, group: &str) -> Secret {
        let wanted = NewToken {
            group: group.to_owned(),
            life: SignedDuration::from_mins(15),
            is_reusable: false,
            max_per_minute: None,
            networks: Networks::default(),
            by: "anna".to_owned(),
            reason: "a test".to_owned(),
        };
        let (token, row) = new_join_token(wanted, self.now()).unwrap();
        self.enroller.store.write("keep a token", move |tx| tx.insert_join_token(&row)).await.unwrap();
        token
    }

    async fn enroll(&self, token: &Secret, node: &str, key: &KeyPair) -> Result<Enrolled, &'static str> {
        let request = EnrollRequest {
            schema_version: ENROLMENT_SCHEMA,
            evidence: Evidence::Token(token.clone()),
            node: node.to_owned(),
            csr: request_of(key),
            agent_version: "0.1.0".to_owned(),
            sent_at: self.now(),
        };
        self.send(request).await
    }

    async fn send(&self, request: EnrollRequest) -> Result<Enrolled, &'static str> {
        self.enroller.enroll(request, "127.0.0.1".parse().unwrap()).await.map_err(|refused| refused.code())
    }

    async fn revoke(&self, node: &'static str) {
        let (config, now) = (Arc::clone(&self.enroller.config), self.now());
        let revoking = self.enroller.store.write("revoke", move |tx| {
            config.nodes.revoke(node);
            tx.revoke_enrolment(node, now, "anna", "a test")
        });
        assert!(revoking.await.unwrap());
    }
}

#[tokio::test]
async fn enrolling_twice_is_enrolling_once() {
    let bench = Bench::new().await;
    let token = bench.token("web").await;
    let first = bench.enroll(&token, "web-9", &key(1)).await.unwrap();
    assert_eq!((first.node.as_str(), first.group.as_str()), ("web-9", "web"));
    bench.clock.set("2026-03-01T12:10:00Z");
    let second = bench.enroll(&token, "web-9", &key(1)).await.unwrap();
    assert_eq!((&second.enrolment, &second.seal_key), (&first.enrolment, &first.seal_key));
    assert!(second.issued.not_after > first.issued.not_after);
    let fingerprint = SecretKey::from_seed([1; 32]).public().id().to_string();
    let standing = bench.config().nodes.standing("web-9", &fingerprint);
    assert!(matches!(standing, Standing::Enrolled(node) if node.group == "web"));
    assert_eq!(bench.config().group_of("web-9").unwrap().name, "web");
    // Nothing more, once the token is over; a token that is not does.
    bench.clock.set("2026-03-01T12:15:00Z");
    assert_eq!(bench.enroll(&token, "web-9", &key(1)).await.unwrap_err(), "token-expired");
    let third = bench.enroll(&bench.token("web").await, "web-9", &key(1)).await.unwrap();
    assert_eq!(third.enrolment, first.enrolment);
    // As after a restart.
    let again = bench._fixture.config();
    let rows = bench.enroller.store.read("read", EnrolmentRow::all).await.unwrap();
    again.nodes.load(&rows);
    assert!(matches!(again.nodes.standing("web-9", &fingerprint), Standing::Enrolled(_)));
}

#[tokio::test]
async fn who_may_not_join_does_not() {
    let bench = Bench::new().await;
    let token = bench.token("web").await;
    bench.enroll(&token, "web-9", &key(1)).await.unwrap();
    let fresh = bench.token("web").await;
    assert_eq!(bench.enroll(&token, "web-8", &key(2)).await.unwrap_err(), "token-used");
    assert_eq!(
        bench.enroll(&Secret::new("cjt_x".to_owned()), "web-8", &key(2)).await.unwrap_err(),
        "token-unknown"
    );
    assert_eq!(bench.enroll(&fresh, "a/b", &key(2)).await.unwrap_err(), "node-refused");
    assert_eq!(bench.enroll(&fresh, "web-9", &key(2)).await.unwrap_err(), "node-taken");
    // The token is bound to the key that it was used with, and serves it yet.
    assert_eq!(bench.enroll(&fresh, "web-8", &key(3)).await.unwrap_err(), "token-used");
    assert_eq!(bench.enroll(&fresh, "web-8", &key(2)).await.unwrap().node, "web-8");
    let cloned = bench.token("web").await;
    assert_eq!(bench.enroll(&cloned, "web-7", &key(2)).await.unwrap_err(), "key-taken");
    let lost = bench.token("gone").await;
    assert_eq!(bench.enroll(&lost, "web-6", &key(4)).await.unwrap_err(), "group-unknown");
    let counted = bench.enroller.store.read("read", |view| view.join_tokens(9)).await.unwrap();
    let mut uses: Vec<_> = counted.iter().map(|(row, uses)| (*uses, row.refused)).collect();
    uses.sort_unstable();
    assert_eq!(uses, [(1, 0), (1, 0), (1, 1), (1, 1)]);
    let kept = bench.enroller.store.read("read", |view| view.refusals("web-8", 9)).await.unwrap();
    assert!(matches!(&kept[..], [row] if (row.code.as_str(), row.count) == ("token-used", 2)), "{kept:?}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_before_the_token_is_used() {
    let bench = Bench::new().await;
    let token = bench.token("web").await;
    for (sent_at, is_refused) in [
        ("2016-03-01T12:00:00Z", true),
        ("2036-03-01T12:00:00Z", true),
        ("2026-03-01T10:59:59Z", true),
        ("2026-03-01T11:00:00Z", false),
    ] {
        let request = EnrollRequest {
            schema_version: ENROLMENT_SCHEMA,
            evidence: Evidence::Token(token.clone()),
            node: "web-9".to_owned(),
            csr: request_of(&key(1)),
            agent_version: "0.1.0".to_owned(),
            sent_at: time(sent_at),
        };
        let sent = bench.send(request).await;
        assert_eq!(sent.err(), is_refused.then_some("clock-skew"), "{sent_at}");
    }
}

#[tokio::test]
async fn who_is_revoked_stays_so() {
    let bench = Bench::new().await;
    let token = bench.token("web").await;
    bench.enroll(&token, "web-9", &key(1)).await.unwrap();
    bench.revoke("web-9").await;
    let fingerprint = SecretKey::from_seed([1; 32]).public().id().to_string();
    assert_eq!(bench.config().nodes.standing("web-9", &fingerprint), Standing::Revoked);
    assert!(bench.config().group_of("web-9").is_none());
    for token in [&token, &bench.token("web").await] {
        assert_eq!(bench.enroll(token, "web-9", &key(1)).await.unwrap_err(), "revoked");
    }
    let tainted = bench.enroller.store.write("change a state", |tx| {
        tx.change_state(&SubjectId::node("web-9"), State::Divergent, None, time(NOON))
    });
    tainted.await.unwrap();
    // The name is free again, for another key, and nothing of the old is said of it.
    let successor = bench.enroll(&bench.token("web").await, "web-9", &key(2)).await.unwrap();
    assert_eq!(successor.node, "web-9");
    let node = bench.enroller.store.read("read a node", |view| view.node("web-9")).await.unwrap().unwrap();
    assert_eq!((node.state, node.note.as_deref()), (State::Unknown, Some(NEVER_REPORTED)));
    assert_eq!(bench.config().nodes.standing("web-9", &fingerprint), Standing::Revoked);
}

#[tokio::test]
async fn who_could_not_be_stored_is_not_enrolled() {
    let bench = Bench::new().await;
    let token = bench.token("web").await;
    fail_commits(&bench.config().database, "enrolments");
    assert_eq!(bench.enroll(&token, "web-9", &key(1)).await.unwrap_err(), "store-unavailable");
    assert!(!bench.config().nodes.contains("web-9"));
}

#[tokio::test]
async fn certificates_are_renewed_for_their_own_key_and_within_grace() {
    let bench = Bench::new().await;
    let enrolled = bench.enroll(&bench.token("web").await, "web-9", &key(1)).await.unwrap();
    let peer =
        Peer::of(&CertificateDer::from_pem_slice(enrolled.issued.certificate.as_bytes()).unwrap()).unwrap();
    let renew = |key: &KeyPair| {
        let request = RenewRequest { schema_version: ENROLMENT_SCHEMA, csr: request_of(key) };
        bench.enroller.renew(&request, &peer).map(|renewed| renewed.issued).map_err(|refused| refused.code())
    };
    bench.clock.set("2026-03-09T11:00:00Z");
    let renewed = renew(&key(1)).unwrap();
    assert_eq!(renewed.not_after, time("2026-03-10T11:00:00Z"));
    assert_eq!(renew(&key(2)).unwrap_err(), "csr-refused");
    bench.clock.set("2026-03-09T12:00:01Z");
    assert_eq!(renew(&key(1)).unwrap_err(), "certificate-expired");
}
