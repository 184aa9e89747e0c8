//! What reports say of containers is held to its shape and to their image.

use congruent_protocol::report::ContainerReport;

use super::*;
use crate::store::StateRow;
use crate::subject::SubjectId;
use crate::testing::containers::{accept_image, damaged, listing, looked};

fn bench() -> Bench {
    let fixture = Fixture::new("report-only");
    accept_image(&fixture, "report-only");
    Bench::over(fixture)
}

/// An honest report of a container, changed.
fn but(change: impl FnOnce(&mut ContainerReport)) -> Report {
    let mut report = damaged("web-1", 1, "c1");
    change(report.container.as_mut().unwrap());
    report
}

#[tokio::test]
async fn an_honest_look_gives_the_container_its_state() {
    let bench = bench();
    let mut table = vec![
        (looked("web-1", 1, "c1", vec![], &[]), State::Congruent),
        (looked("web-1", 2, "c1", tampered(), &[]), State::Divergent),
        (damaged("web-1", 3, "c1"), State::Divergent),
    ];
    let without = |sequence, report: Report| Report {
        outcome: Outcome::NoManifest("none is of its image".to_owned()),
        sequence,
        ..report
    };
    table.push((without(4, looked("web-1", 4, "c1", vec![], &[])), State::Unknown));
    // Where nothing is accepted, its layers are held to their diff_ids.
    table.push((without(5, damaged("web-1", 5, "c1")), State::Divergent));
    for (report, state) in table {
        let sequence = report.sequence;
        let answer = bench.send(&report).await.unwrap();
        assert_eq!(answer.state, state, "{sequence}");
    }
    assert_eq!(bench.node().await, None, "nothing was said of the node itself");
}

#[tokio::test]
async fn a_container_begins_with_its_first_state() {
    let bench = bench();
    let without = Outcome::NoManifest("none is of its image".to_owned());
    bench.send(&damaged("web-1", 1, "c1")).await.unwrap();
    bench.send(&looked("web-1", 2, "c1", vec![], &[])).await.unwrap();
    bench.send(&Report { outcome: without, ..looked("web-1", 3, "c2", vec![], &[]) }).await.unwrap();
    bench.send(&listing("web-1", 4, &["c1", "c2", "c3"])).await.unwrap();
    bench.send(&looked("web-1", 5, "c3", vec![], &[])).await.unwrap();
    let states = async |id: &'static str| {
        let subject = SubjectId::container("web-1", id);
        let read = bench.ingest.store.read("read", move |view| view.states_of(&subject, 9)).await.unwrap();
        let show = |row: &StateRow| (row.state, row.report_id, row.note.clone().unwrap_or_default());
        read.iter().rev().map(show).collect::<Vec<_>>()
    };
    let nothing = String::new;
    assert_eq!(
        states("c1").await,
        [(State::Divergent, Some(1), nothing()), (State::Congruent, Some(2), nothing())]
    );
    let [(state, report, note)] = &states("c2").await[..] else { panic!("it has one state") };
    assert_eq!((*state, *report), (State::Unknown, Some(3)));
    assert!(note.contains("none is of its image"), "{note}");
    // One that its node told of first was not known.
    let c3 = states("c3").await;
    assert_eq!((c3[0].0, c3[0].1, c3[1].0), (State::Unknown, None, State::Congruent));
}

/// The auditor's report tells of containers that are no subject any more.
#[tokio::test]
async fn reports_tell_which_container_it_was() {
    let bench = bench();
    for (sequence, name) in [(1, "before"), (2, "after")] {
        let mut report = looked("web-1", sequence, "c1", vec![], &[]);
        report.container.as_mut().unwrap().identity.name = Some(name.to_owned());
        bench.send(&report).await.unwrap();
    }
    bench.send(&listing("web-1", 3, &[])).await.unwrap();
    let of = |until: Timestamp, id: &'static str| {
        bench.ingest.store.read("read", move |view| {
            assert_eq!(view.subjects_of("web-1")?.len(), 1, "it is over");
            view.identity_until(&SubjectId::container("web-1", id), until)
        })
    };
    let identity = of(Timestamp::MAX, "c1").await.unwrap().unwrap();
    assert_eq!((identity.name.as_deref(), identity.image.as_deref()), (Some("after"), Some("app:1")));
    assert_eq!(of(Timestamp::MIN, "c1").await.unwrap(), None);
    assert_eq!(of(Timestamp::MAX, "c2").await.unwrap(), None);
}

#[tokio::test]
async fn a_subject_is_not_held_to_what_another_is_made_of() {
    let bench = bench();
    let of_image = Report { container: None, ..looked("web-1", 1, "c1", vec![], &[]) };
    let mut of_node = looked("web-1", 2, "c1", vec![], &[]);
    let Outcome::Verified(verification) = &mut of_node.outcome else { panic!("it is verified") };
    verification.manifest.name = "web".to_owned();
    verification.manifest.version = "1.4.2".to_owned();
    let other = Algorithm::Sha256.digest(b"other");
    let mut of_other = looked("web-1", 3, "c1", vec![], &[]);
    of_other.container.as_mut().unwrap().identity.config_digest = Some(other);
    let mut of_other_layers = looked("web-1", 4, "c1", vec![], &[]);
    of_other_layers.container.as_mut().unwrap().layers[0].place.diff_id = Some(other);
    let mut without_layers = looked("web-1", 5, "c1", vec![], &[]);
    without_layers.container.as_mut().unwrap().layers.clear();
    for (report, says) in [
        (of_image, "nodes are not held to one"),
        (of_node, "of no container image"),
        (of_other, "of another image"),
        (of_other_layers, "of another image"),
        (without_layers, "of another image"),
    ] {
        let answer = bench.send(&report).await.unwrap();
        assert_eq!(answer.state, State::Unknown, "{says}");
        assert!(answer.note.unwrap().contains(says), "{says}");
    }
}

#[tokio::test]
async fn what_cannot_be_so_of_a_container_is_refused() {
    let root = Some(Algorithm::Blake3.digest(b"another root"));
    let table: Vec<(Report, &str, &str)> = vec![
        (but(|c| c.identity.id = "a/b".to_owned()), "container-refused", "none that a runtime gives"),
        (but(|c| c.identity.name = Some("n".repeat(1001))), "malformed", "is over 1000 bytes"),
        (but(|c| c.layers[0].findings.clear()), "container-refused", "not those that it counts"),
        (but(|c| c.layers[0].findings_total = 0), "container-refused", "not those that it counts"),
        (but(|c| c.layers[0].place.shared_by.swap(0, 1)), "container-refused", "list of containers is none"),
        (but(|c| c.layers[0].baked_root = None), "container-refused", "was baked with the root"),
        (but(|c| c.layers[0].baked_root = root), "container-refused", "was baked with the root"),
        (but(|c| c.mounts = vec![added("/data")]), "container-refused", "/data is of no mount"),
        (but(|c| c.runtime_layer = vec![added("/b"), added("/a")]), "container-refused", "out of order"),
        (but(|c| c.layers = vec![c.layers[0].clone(); 501]), "container-refused", "over 500 layers"),
        (
            Report { containers: listing("web-1", 1, &[]).containers, ..damaged("web-1", 1, "c1") },
            "container-refused",
            "lists those of its node",
        ),
        (listing("web-1", 1, &["c2", "c1"]), "container-refused", "list of containers is none"),
        (listing("web-1", 1, &["-"]), "container-refused", "list of containers is none"),
    ];
    let bench = bench();
    for (report, code, says) in table {
        let refused = bench.send(&report).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(chain_of(&refused).contains(says), "{refused}");
    }
    let mut clean = looked("web-1", 1, "c1", vec![], &[]);
    clean.container.as_mut().unwrap().layers[0].observed_root = root;
    assert!(bench.send(&clean).await.unwrap_err().to_string().contains("another root than baked"));
    // Damage beside the tree is no less a finding.
    let mut hushed = damaged("web-1", 1, "c1");
    let Outcome::Verified(verification) = &mut hushed.outcome else { panic!("it is verified") };
    verification.state = State::Congruent;
    assert_eq!(bench.send(&hushed).await.unwrap_err().code(), "state-mismatch");
    let mut unseen = looked("web-1", 1, "c1", vec![], &[]);
    unseen.container.as_mut().unwrap().layers[0].state = State::Incomplete;
    assert!(bench.send(&unseen).await.unwrap_err().to_string().contains("was not verified, and is no gap"));
}
