use std::time::Instant;

use super::*;
use crate::store::{Database, Store, Tx};
use crate::subject::SubjectId;
use crate::testing::{Fixture, time};

/// A name for each number, in no order.
fn scattered(at: u64) -> String {
    format!("web-{:016x}", at.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

async fn store_with(put: impl Fn(&Tx<'_>) -> Result<(), StoreError> + Send + 'static) -> TestStore {
    let fixture = Fixture::new("report-only");
    let store = Store::open(&fixture.config().database).unwrap();
    store.write("put in nodes", put).await.unwrap();
    TestStore { store, _fixture: fixture }
}

struct TestStore {
    store: Store,
    _fixture: Fixture,
}

impl TestStore {
    async fn page(&self, filter: &NodeFilter, after: Option<&str>, limit: usize) -> Vec<String> {
        let (filter, after) = (filter.clone(), after.map(str::to_owned));
        let listing =
            self.store.read("list", move |view| view.list_nodes(&filter, after.as_deref(), limit)).await;
        listing.unwrap().into_iter().map(|listed| listed.subject.id.node).collect()
    }

    async fn all(&self, filter: &NodeFilter) -> Vec<String> {
        self.page(filter, None, 1000).await
    }

    async fn count(&self, filter: &NodeFilter) -> Vec<(State, u64)> {
        let filter = filter.clone();
        let mut counted = self.store.read("count", move |view| view.count_nodes(&filter)).await.unwrap();
        counted.sort_by_key(|(state, _)| state.name());
        counted
    }
}

fn at() -> Timestamp {
    time("2026-03-01T00:00:00Z")
}

#[test]
fn prefixes_end_where_the_next_begins() {
    for (prefix, end) in [
        ("web-", Some("web.")),
        ("a\u{d7ff}", Some("a\u{e000}")),
        ("a\u{10ffff}", Some("b")),
        ("\u{10ffff}", None),
        ("", None),
    ] {
        assert_eq!(end_of_prefix(prefix).as_deref(), end, "{prefix:?}");
    }
}

#[tokio::test]
async fn filters_find_what_they_say() {
    let names = ["Web-1", "db-1", "db-2", "mail_1", "mailx1", "web-%", "web-10", "web-2", "x\u{1b}[2J"];
    let bench = store_with(move |tx| {
        for name in names {
            let group = if name.starts_with("db") { "db" } else { "web" };
            tx.insert_subject(&SubjectId::node(name), group, at(), "new")?;
        }
        tx.change_state(&SubjectId::node("db-2"), State::Silent, None, at())?;
        tx.change_state(&SubjectId::node("web-2"), State::Silent, None, at())?;
        tx.note_heard(&[("db-1".to_owned(), at())])?;
        tx.set_node_group("mailx1", None)
    })
    .await;
    let none = NodeFilter::default;
    let name = |text: &str| NodeFilter { name: Some(NamePattern::new(text)), ..none() };
    let prefix = |text: &str| NodeFilter { prefix: Some(text.to_owned()), ..none() };
    let own = |text: &str| Some(text.to_owned());
    let silent = NodeFilter { state: Some(State::Silent), ..none() };
    for (filter, found) in [
        (none(), &["Web-1", "db-1", "db-2", "mail_1", "web-%", "web-10", "web-2", "x\u{1b}[2J"][..]),
        (NodeFilter { group: own("db"), ..none() }, &["db-1", "db-2"]),
        (silent.clone(), &["db-2", "web-2"]),
        (NodeFilter { group: own("db"), ..silent.clone() }, &["db-2"]),
        (NodeFilter { node: own("db-1"), ..none() }, &["db-1"]),
        (NodeFilter { node: own("db-"), ..none() }, &[]),
        (NodeFilter { verdict: Some(Verdict::Replace), ..none() }, &[]),
        (NodeFilter { is_revoked: true, ..none() }, &["mailx1"]),
        (NodeFilter { seen_before: Some(at()), group: own("db"), ..none() }, &["db-2"]),
        (prefix("web-"), &["web-%", "web-10", "web-2"]),
        (prefix("web-1"), &["web-10"]),
        (name("EB-1"), &["Web-1", "web-10"]),
        (name("web-?"), &["Web-1", "web-%", "web-2"]),
        (name("*1"), &["Web-1", "db-1", "mail_1"]),
        (name("%"), &["web-%"]),
        (name("_"), &["mail_1"]),
        (name("\u{1b}"), &["x\u{1b}[2J"]),
        (name("' OR 1=1 --"), &[]),
    ] {
        assert_eq!(bench.all(&filter).await, found, "{filter:?}");
    }
    assert_eq!(bench.count(&none()).await, [(State::Silent, 2), (State::Unknown, 6)]);
    assert_eq!(bench.count(&silent).await, [(State::Silent, 2), (State::Unknown, 6)]);
    assert_eq!(bench.count(&name("db")).await, [(State::Silent, 2), (State::Unknown, 6)]);
    let of_db = NodeFilter { group: own("db"), ..name("nothing") };
    assert_eq!(bench.count(&of_db).await, [(State::Silent, 1), (State::Unknown, 1)]);
}

#[tokio::test]
async fn pages_hold_while_nodes_come_and_go() {
    let bench = store_with(|tx| {
        (0..250).try_for_each(|number| {
            tx.insert_subject(&SubjectId::node(&scattered(number)), "web", at(), "new")
        })
    })
    .await;
    let mut stay: Vec<String> = (0..250).map(scattered).collect();
    stay.sort();
    let (mut seen, mut after, mut number) = (Vec::new(), None, 250);
    loop {
        let page = bench.page(&NodeFilter::default(), after.as_deref(), 7).await;
        let Some(last) = page.last().cloned() else { break };
        seen.extend(page.into_iter().filter(|name| stay.contains(name)));
        // The page's own last, so that the next page follows what is gone, and one ahead of it.
        let ahead = stay.iter().find(|name| **name > last).cloned();
        let (gone, come) = ([Some(last.clone()), ahead.clone()], number..number + 3);
        let changing = bench.store.write("come and go", move |tx| {
            for name in gone.iter().flatten() {
                tx.delete_node(name)?;
            }
            come.clone().try_for_each(|number| {
                tx.insert_subject(&SubjectId::node(&scattered(number)), "web", at(), "new")
            })
        });
        changing.await.unwrap();
        stay.retain(|name| Some(name) != ahead.as_ref());
        (after, number) = (Some(last), number + 3);
    }
    assert_eq!(seen, stay, "each once, in order");
}

/// How long something took, in milliseconds: of half, and of all but one in a hundred.
fn shown(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    format!("p50 {:.1} ms, p99 {:.1} ms", times[times.len() / 2], times[times.len() * 99 / 100])
}

#[tokio::test]
async fn a_hundred_thousand_nodes_are_listed_page_by_page() {
    const NODES: u64 = 100_000;
    let bench = store_with(|tx| {
        for number in 0..NODES {
            let name = scattered(number);
            let group = format!("group-{}", number % 20);
            tx.insert_subject(&SubjectId::node(&name), &group, at(), "it has never reported")?;
            if number % 1000 == 1 {
                tx.change_state(&SubjectId::node(&name), State::Divergent, Some("a note"), at())?;
            }
        }
        Ok(())
    })
    .await;
    let none = NodeFilter::default;
    let divergent = NodeFilter { state: Some(State::Divergent), ..none() };
    for (what, filter, all, listed) in [
        ("all", none(), NODES, 100),
        ("of a state", divergent.clone(), NODES, 100),
        ("of a group", NodeFilter { group: Some("group-7".to_owned()), ..none() }, NODES / 20, 100),
        ("of both", NodeFilter { group: Some("group-1".to_owned()), ..divergent }, NODES / 20, 100),
        ("of a verdict", NodeFilter { verdict: Some(Verdict::Replace), ..none() }, NODES, 0),
        ("by a prefix", NodeFilter { prefix: Some("web-0".to_owned()), ..none() }, NODES, 100),
        ("by a part of a name", NodeFilter { name: Some(NamePattern::new("*abcd")), ..none() }, NODES, 2),
        ("not seen since", NodeFilter { seen_before: Some(Timestamp::MIN), ..none() }, NODES, 0),
    ] {
        assert_eq!(bench.page(&filter, None, 100).await.len(), listed, "{what}");
        let counted: u64 = bench.count(&filter).await.iter().map(|(_, count)| count).sum();
        assert_eq!(counted, all, "{what}");
        let (mut counts, mut pages, mut after) = (Vec::new(), Vec::new(), None);
        for _ in 0..100 {
            let began = Instant::now();
            bench.count(&filter).await;
            counts.push(began.elapsed().as_secs_f64() * 1000.0);
            let began = Instant::now();
            let page = bench.page(&filter, after.as_deref(), 100).await;
            pages.push(began.elapsed().as_secs_f64() * 1000.0);
            after = page.last().cloned();
        }
        println!("{NODES} nodes, {what}: a page {}; totals {}", shown(pages), shown(counts));
    }
}

#[test]
fn a_database_from_before_is_listed_as_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("congruent.db");
    let database = Database::Sqlite(path.clone());
    let before = rusqlite::Connection::open(&path).unwrap();
    for migration in [
        include_str!("migrations/sqlite/0001_initial.sql"),
        include_str!("migrations/sqlite/0002_identity.sql"),
        include_str!("migrations/sqlite/0003_operators.sql"),
        include_str!("migrations/sqlite/0004_groups.sql"),
        include_str!("migrations/sqlite/0005_sealed_reports.sql"),
    ] {
        before.execute_batch(migration).unwrap();
    }
    let rows = r#"
        PRAGMA application_id = 0x436f6e67;
        PRAGMA user_version = 5;
        INSERT INTO decisions (id, node, group_name, at, state, decision, policy_digest, engine, input_digest, input)
            VALUES (1, 'web-1', 'web', 1, 'divergent',
            '{"action":"replace","severity":"high","reasons":["\"action\":\"none\""],"controls":[]}', '', '', '', x'');
        INSERT INTO nodes (node, generation, state, since, decision_id)
            VALUES ('web-1', 3, 'divergent', 1, 1), ('web-2', 1, 'unknown', 1, NULL);
        INSERT INTO enrolments (id, node, group_name, key, public_key, seal_key, enrolled_at, admitted_by,
            agent_version, revoked_at) VALUES ('a', 'web-1', 'web', 'a', x'', x'', 2, 'jt_1', '', NULL),
            ('b', 'web-1', 'db', 'b', x'', x'', 1, 'jt_1', '', 2), ('c', 'web-2', 'web', 'c', x'', x'', 1, 'jt_1', '', 2);
        INSERT INTO group_versions VALUES ('web', 1, 1, 'alice', 'new', '{}');
    "#;
    before.execute_batch(rows).unwrap();
    drop(before);
    drop(Store::open(&database).unwrap());
    let listed = crate::store::read_only(&database, "list", |view| {
        let replaced = NodeFilter { verdict: Some(Verdict::Replace), ..NodeFilter::default() };
        let revoked = NodeFilter { is_revoked: true, ..NodeFilter::default() };
        Ok((view.list_nodes(&replaced, None, 9)?, view.list_nodes(&revoked, None, 9)?))
    });
    let (enrolled, revoked) = listed.unwrap();
    let told: Vec<_> =
        enrolled.iter().map(|listed| (&*listed.subject.id.node, listed.subject.group.as_deref())).collect();
    assert_eq!(told, [("web-1", Some("web"))]);
    assert_eq!(enrolled[0].decision.as_ref().map(|decision| decision.action), Some(Verdict::Replace));
    assert_eq!((revoked.len(), &*revoked[0].subject.id.node), (1, "web-2"));
}
