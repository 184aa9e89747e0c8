//! Pages of small and hostile diffs.

use super::*;
use crate::diff::allow::Allow;
use crate::diff::testing::{Image, between};

const OLD: Image<'_> = Image {
    version: "1",
    tree: &[("/a", "1", 1), ("/b", "1", 2), ("/etc", "", 0), ("/etc/c", "1", 0)],
    packages: Some(&[("p", "1"), ("q", "1")]),
    contract: "",
    owner: None,
};
const NEW: Image<'_> = Image {
    version: "2",
    tree: &[
        ("/a", "2", 1),
        ("/b", "2", 2),
        ("/etc", "", 0),
        ("/etc/c", "1", 0),
        ("/etc/x|`y`<code><b>\n@z", "1", 0),
    ],
    packages: Some(&[("p", "2"), ("q", "1")]),
    contract: "[[rule]]\npath = '/etc/**'\nclass = 'pinned'\n",
    owner: Some("a|b\n\u{202e}"),
};

type Render = fn(&mut Vec<u8>, &Page<'_>) -> std::io::Result<()>;

fn render(render: Render, old: &Image<'_>, new: &Image<'_>, allow: Option<&str>) -> String {
    let (old, new) = (old.bake(), new.bake());
    let diff = between(&old, &new).unwrap();
    let judgement = allow.map(|text| Allow::from_toml(text).unwrap().judge(&diff));
    let side = |manifest| Side { manifest, was_checked: false };
    let page = Page { old: side(&old.0), new: side(&new.0), diff: &diff, judgement: judgement.as_ref() };
    let mut out = Vec::new();
    render(&mut out, &page).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn text_tells_what_a_board_wants_to_see() {
    let text = render(text, &OLD, &NEW, Some("[[package]]\nname = 'p'\n[[path]]\nglob = '/none'\n"));
    let expected = r"
entries: 1 added, 2 modified

changed outside their package's version:
  q (all) 1
    modified     /b  content blake3:3c462dd7363d6… → blake3:20221bb17872f…

packages (dpkg): 1 updated
  updated      p (all)  1 → 2  (entries: 1 modified)

in no package:
  /etc  1 added
    added        /etc/x|`y`<code><b>\x0a@z  file 0755 0:0 1 bytes  (pinned)

contract:
  added        pinned      /etc/**

origin:
  owner                none → a|b\x0a\xe2\x80\xae

not declared: 3 changes
  modified     /b: content blake3:3c462dd7363d6… → blake3:20221bb17872f…
  added        /etc/x|`y`<code><b>\x0a@z: file 0755 0:0 1 bytes
  changed      the contract
declared, and nothing changed: path /none
";
    let (_, told) = text.split_once("by nobody\nnew: web 2\n").unwrap();
    let told = &told[told.find("\nentries").unwrap()..];
    assert_eq!(told, expected);
}

#[test]
fn nothing_is_said_to_be_nothing() {
    let same = Image { version: "2", ..OLD };
    let words = [
        (
            text as Render,
            &["\nnothing changed\n", "packages (dpkg): none changed", "all that changed was declared"][..],
        ),
        (markdown, &["**Entries:** Nothing changed.", "**All that changed was declared.**"]),
        (json, &["\"changes\": []", "\"undeclared\": []", "\"changed\": false"]),
    ];
    for (format, words) in words {
        let shown = render(format, &OLD, &same, Some(""));
        for word in words {
            assert!(shown.contains(word), "{word:?} is not in {shown}");
        }
    }
}

/// Every table has the cells that its head has, whatever names hold.
#[test]
fn no_name_breaks_a_table() {
    let page = render(markdown, &OLD, &NEW, Some(""));
    let mut columns = None;
    let mut rows = 0;
    for line in page.lines() {
        let cells = line.starts_with('|').then(|| line.matches('|').count());
        if let (Some(before), Some(cells)) = (columns, cells) {
            assert_eq!(before, cells, "{line}");
            rows += 1;
        }
        columns = cells;
    }
    assert!(rows > 12, "{page}");
    for (bad, count) in [("<b>", 0), ("`", 0), ("@", 0), ("</details>", 1)] {
        assert_eq!(page.matches(bad).count(), count, "{bad}: {page}");
    }
    assert!(
        page.contains("<code>/etc/x&#124;&#96;y&#96;&#60;code&#62;&#60;b&#62;&#92;x0a&#64;z</code>"),
        "{page}"
    );
}

#[test]
fn json_has_everything() {
    let shown = render(json, &OLD, &NEW, Some(""));
    let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let brief = |changes: &serde_json::Value| -> Vec<String> {
        let changes = changes.as_array().unwrap().iter();
        changes
            .map(|c| format!("{} {} {} {}", c["path"], c["change"], c["package"]["name"], c["outside"]))
            .collect()
    };
    assert_eq!(json["schema_version"], 1);
    assert_eq!(
        brief(&json["changes"]),
        [
            r#""/a" "modified" "p" false"#,
            r#""/b" "modified" "q" true"#,
            r#""/etc/x|`y`<code><b>\\x0a@z" "added" null false"#
        ]
    );
    assert_eq!(json["packages"]["changes"][0]["entries"]["modified"], 1);
    assert_eq!(json["packages"]["outside"][0]["name"], "q");
    assert_eq!(json["directories"][0]["path"], "/etc");
    assert_eq!(json["contract"]["rules"]["added"][0]["class"], "pinned");
    assert_eq!(json["origin"][0]["new"], "a|b\n\u{202e}");
    let kinds: Vec<_> =
        json["allow"]["undeclared"].as_array().unwrap().iter().map(|u| u["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["package", "entry", "entry", "contract"]);
}
