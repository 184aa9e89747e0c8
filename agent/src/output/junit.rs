//! A verification as JUnit XML, as Jenkins, GitLab and their like show it.
//!
//! One suite. Each finding is a test case that failed, each gap one that ended in
//! an error; where there is neither, one test case passed. A test case is named by
//! image and change (its class) and path, not by version, so that a CI system can
//! follow it from build to build.
//!
//! There is no standard for this format: the elements and attributes are those
//! that Jenkins' and Surefire's schemas share. Names and reasons are escaped until
//! nothing is left that XML 1.0 forbids.

use std::io::{self, BufWriter, Write};

use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::path::escape;
use congruent_protocol::verification::{Gap, State, Verification};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::{Cause, gaps, text};
use crate::findings::Findings;

const FAILURE: &str = "failure";
const ERROR: &str = "error";
/// The test case that passes where there is nothing else to show.
const ALL_CONGRUENT: &str = "every entry is as baked";

/// A test case and how it went.
struct Case {
    class: &'static str,
    name: String,
    went: Went,
}

enum Went {
    Well,
    Badly(Trouble),
}

/// What a test case says that did not pass.
struct Trouble {
    /// `failure` or `error`.
    element: &'static str,
    message: String,
    detail: String,
}

/// Prints one suite.
pub(crate) fn verification(out: &mut impl Write, v: &Verification<Findings>) -> io::Result<()> {
    let counts = counts(v);
    let mut xml = Writer::new_with_indent(BufWriter::new(out), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites = xml.create_element("testsuites");
    suites.with_attributes(borrowed(&counts)).write_inner_content(|xml| suite(xml, v, &counts))?;
    let mut out = xml.into_inner();
    out.write_all(b"\n")?;
    out.flush()
}

fn suite<W: Write>(
    xml: &mut Writer<W>,
    v: &Verification<Findings>,
    counts: &[(&str, String)],
) -> io::Result<()> {
    let [name, version] = [&v.manifest.name, &v.manifest.version].map(|text| escape(text.as_bytes()));
    let timestamp = v.coverage.started_at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let about = [("name", &*format!("{name} {version}")), ("skipped", "0"), ("timestamp", &timestamp)];
    let suite = xml.create_element("testsuite").with_attributes(about).with_attributes(borrowed(counts));
    suite.write_inner_content(|xml| {
        properties(xml, v)?;
        cases(v)?.try_for_each(|shown| case(xml, &name, &shown?))
    })?;
    Ok(())
}

/// The attributes that suite and suites share.
fn counts(v: &Verification<Findings>) -> [(&'static str, String); 4] {
    let (failures, gaps, lone) = (v.findings.len(), gaps(&v.coverage).count(), lone_case(v));
    let tests = failures + gaps + usize::from(lone.is_some());
    let errors = gaps + usize::from(lone.is_some_and(|case| matches!(case.went, Went::Badly(_))));
    let seconds = v.coverage.finished_at.duration_since(v.coverage.started_at).as_secs_f64();
    [
        ("tests", tests.to_string()),
        ("failures", failures.to_string()),
        ("errors", errors.to_string()),
        ("time", format!("{seconds:.3}")),
    ]
}

fn borrowed<'a>(attributes: &'a [(&'a str, String)]) -> impl Iterator<Item = (&'a str, &'a str)> {
    attributes.iter().map(|(name, value)| (*name, value.as_str()))
}

fn properties<W: Write>(xml: &mut Writer<W>, v: &Verification<Findings>) -> io::Result<()> {
    let properties = [
        ("congruent.state", v.state.name().to_owned()),
        ("congruent.mode", v.coverage.mode.name().to_owned()),
        ("congruent.baked-root", v.manifest.root.to_string()),
        ("congruent.observed-root", v.observed_root.to_string()),
        ("congruent.conditional", v.conditional.to_string()),
        ("congruent.signed-by", v.manifest.signed_by.join(", ")),
        ("congruent.entries-expected", v.coverage.entries_expected.to_string()),
        ("congruent.entries-seen", v.coverage.entries_seen.to_string()),
    ];
    xml.create_element("properties").write_inner_content(|xml| {
        for (name, value) in &properties {
            let property = xml.create_element("property");
            property
                .with_attributes([("name", *name), ("value", &escape(value.as_bytes()))])
                .write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn cases(v: &Verification<Findings>) -> io::Result<impl Iterator<Item = io::Result<Case>>> {
    let failures = v.findings.iter()?.map(|finding| Ok(failed(&finding?)));
    let errors = gaps(&v.coverage).map(|(cause, gap)| Ok(not_verified(cause, &gap)));
    Ok(failures.chain(errors).chain(lone_case(v).map(Ok)))
}

/// The one case where there is neither finding nor gap. Only what is congruent
/// passes.
fn lone_case(v: &Verification<Findings>) -> Option<Case> {
    if !v.findings.is_empty() || gaps(&v.coverage).next().is_some() {
        return None;
    }
    let class = v.state.name();
    let went = match v.state {
        State::Congruent => Went::Well,
        _ => Went::Badly(Trouble {
            element: ERROR,
            message: format!("the state is {class}"),
            detail: String::new(),
        }),
    };
    Some(Case { class, name: ALL_CONGRUENT.to_owned(), went })
}

fn failed(finding: &Finding) -> Case {
    let class = finding.change.name();
    let differences = text::differences(finding);
    let sides = [("expected", &finding.expected), ("observed", &finding.observed)];
    let mut detail = vec![format!("{class} {}", finding.path)];
    detail.extend(differences.iter().map(|difference| format!("  {difference}")));
    detail.push(format!("class {}", finding.class));
    detail.extend(sides.map(|(name, side)| format!("{name} {}", json(side.as_ref()))));
    let message = format!("{class}: {}", differences.join("; "));
    let went = Went::Badly(Trouble { element: FAILURE, message, detail: detail.join("\n") });
    Case { class, name: finding.path.to_string(), went }
}

fn not_verified(cause: Cause<'_>, gap: &Gap) -> Case {
    let class = cause.name();
    let message = format!("{class}: {}", gap.reason);
    let detail = format!("{class} {}\n{}\nnot known to be as baked, nor to differ", gap.path, gap.reason);
    let went = Went::Badly(Trouble { element: ERROR, message, detail });
    let name = match cause {
        Cause::Unchecked(what) => what.to_owned(),
        Cause::Unreadable | Cause::Unstable => gap.path.to_string(),
    };
    Case { class, name, went }
}

fn json(attributes: Option<&Attributes>) -> String {
    let shown = attributes.map(|attributes| serde_json::to_string(attributes).unwrap_or_default());
    shown.unwrap_or_else(|| "nothing".to_owned())
}

fn case<W: Write>(xml: &mut Writer<W>, image: &str, case: &Case) -> io::Result<()> {
    let class = format!("{image}.{}", case.class);
    let name = escape(case.name.as_bytes());
    let element = xml.create_element("testcase").with_attributes([("classname", &*class), ("name", &name)]);
    match &case.went {
        Went::Well => element.write_empty()?,
        Went::Badly(trouble) => element.write_inner_content(|xml| {
            let about = [("type", case.class), ("message", &escape(trouble.message.as_bytes()))];
            let how = xml.create_element(trouble.element).with_attributes(about);
            how.write_text_content(BytesText::new(&lines(&trouble.detail)))?;
            Ok(())
        })?,
    };
    Ok(())
}

/// The text, each line of it escaped.
fn lines(text: &str) -> String {
    text.lines().map(|line| escape(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::Reader;

    use super::super::testing::{congruent, divergent, incomplete, kept, unchecked};
    use super::*;

    fn rendered(v: &Verification) -> String {
        let mut out = Vec::new();
        verification(&mut out, &kept(v.clone())).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Checks that the XML has these lines, whatever their indentation.
    fn check(v: &Verification, expected: &[&str]) {
        let text = rendered(v);
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for line in expected {
            assert!(lines.contains(line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn what_ci_systems_show() {
        check(
            &congruent(),
            &[
                r#"<testsuites tests="1" failures="0" errors="0" time="1.500">"#,
                r#"<testcase classname="web.congruent" name="every entry is as baked"/>"#,
            ],
        );
        check(
            &incomplete(),
            &[
                r#"<testsuites tests="2" failures="0" errors="2" time="1.500">"#,
                r#"<testcase classname="web.unreadable" name="/etc/shadow">"#,
                r#"<error type="unreadable" message="unreadable: Permission denied">unreadable /etc/shadow"#,
                r#"<testcase classname="web.unstable" name="/var/log/a\x0ab">"#,
            ],
        );
        check(
            &unchecked(),
            &[
                r#"<testsuites tests="1" failures="0" errors="1" time="1.500">"#,
                r#"<testcase classname="web.unchecked" name="md5">"#,
                r#"<error type="unchecked" message="unchecked: md5 (2 times): it is weak">unchecked /"#,
            ],
        );
        check(
            &divergent(),
            &[
                r#"<testsuite name="web 1.4.2" skipped="0" timestamp="2026-11-25T14:00:00" tests="3" failures="3" errors="0" time="1.500">"#,
                r#"<testcase classname="web.modified" name="/etc/passwd">"#,
                r#"<failure type="modified" message="modified: size 30 → 21; mode 0644 → 0666">modified /etc/passwd"#,
                r#"<testcase classname="web.added" name="/srv/a\x0a\xff](x">"#,
                r#"<failure type="added" message="added: symlink 0777 0:0 to &lt;&amp;&quot;&gt;">added /srv/a\x0a\xff](x"#,
            ],
        );
    }

    /// A state that stands without finding or gap is no success.
    #[test]
    fn only_what_is_congruent_passes() {
        let nothing_listed = Verification { state: State::Incomplete, ..congruent() };
        check(
            &nothing_listed,
            &[
                r#"<testsuites tests="1" failures="0" errors="1" time="1.500">"#,
                r#"<error type="incomplete" message="the state is incomplete"></error>"#,
            ],
        );
    }

    proptest! {
        #[test]
        fn no_name_or_reason_breaks_the_xml(
            name in "\\PC*|\\p{any}*", reason in "\\p{any}*", link in "\\p{any}*",
        ) {
            let mut v = divergent();
            v.manifest.name = name;
            v.findings[2].observed.as_mut().unwrap().link = Some(link);
            v.coverage.unreadable = incomplete().coverage.unreadable;
            v.coverage.unreadable[0].reason = reason;
            let text = rendered(&v);
            let is_allowed = |c: char| c == '\n' || (c >= ' ' && c != '\u{fffe}' && c != '\u{ffff}');
            prop_assert!(text.chars().all(is_allowed));
            let mut reader = Reader::from_str(&text);
            reader.config_mut().check_end_names = true;
            let mut elements = 0;
            loop {
                match reader.read_event().unwrap() {
                    Event::Eof => break,
                    Event::Start(start) => {
                        start.attributes().for_each(|attribute| assert!(attribute.is_ok()));
                        elements += 1;
                    }
                    _ => {}
                }
            }
            // Two suites, the properties, and a case with its outcome for each.
            prop_assert_eq!(elements, 3 + 2 * 4);
        }
    }
}
