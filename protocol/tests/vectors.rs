//! The frozen manifests of format version 2, read as a whole.
//!
//! `vectors/v2/` holds a base under a contract of every class, an add-on, the
//! ledger of one instance, what was found on it, and the roots that follow; and an
//! image of four layers, which `vectors/image` made. The
//! second reader in `tests/peers/` is held to the same files.

use std::io::Cursor;

use congruent_protocol::drift::Finding;
use congruent_protocol::entry::Kind;
use congruent_protocol::key::PublicKey;
use congruent_protocol::layer::LayerEntry;
use congruent_protocol::ledger::Ledger;
use congruent_protocol::manifest::Manifest;
use congruent_protocol::recompute::recompute;
use congruent_protocol::stack::Stack;
use congruent_protocol::trust::Trust;
use jiff::Timestamp;
use serde_json::Value;

const BASE: &[u8] = include_bytes!("../vectors/v2/base.manifest");
const ADD_ON: &[u8] = include_bytes!("../vectors/v2/add-on.manifest");
const IMAGE: &[u8] = include_bytes!("../vectors/v2/image.manifest");
const LEDGER: &[u8] = include_bytes!("../vectors/v2/ledger.json");
const FINDINGS: &[u8] = include_bytes!("../vectors/v2/findings.json");
const EXPECTED: &[u8] = include_bytes!("../vectors/v2/expected.json");
const KEY: &str = include_str!("../vectors/openssl-ed25519.pub.pem");

fn root_of(manifest: &Manifest) -> String {
    manifest.predicate().root.to_string()
}

#[test]
fn the_frozen_stack_has_its_roots() {
    let expected: Value = serde_json::from_slice(EXPECTED).unwrap();
    let trust = Trust::any_of(vec![PublicKey::from_pem(KEY).unwrap()]);
    let verify = |bytes| Manifest::verify(&mut Cursor::new(bytes), &trust, Timestamp::UNIX_EPOCH).unwrap();
    let (base, add_on) = (verify(BASE), verify(ADD_ON));
    let signers: Vec<_> = base.signed_by().verified.iter().map(ToString::to_string).collect();
    assert_eq!(Value::from(signers), expected["signed_by"]);
    assert_eq!(root_of(&base), expected["base_root"]);
    assert_eq!(root_of(&add_on), expected["add_on_root"]);

    let inputs = || vec![Cursor::new(BASE), Cursor::new(ADD_ON)];
    let stack = Stack::assemble(base, vec![add_on], inputs()).unwrap();
    assert_eq!(stack.root().to_string(), expected["stack_root"]);

    let ledger = Ledger::from_json(LEDGER).unwrap();
    ledger.check(stack.root(), stack.contract(), stack.reserved()).unwrap();
    let findings: Value = serde_json::from_slice(FINDINGS).unwrap();
    let findings: Vec<Finding> = serde_json::from_value(findings["findings"].clone()).unwrap();
    let observed = |findings: &[Finding]| {
        let (entries, algorithm) = (stack.entries(inputs()).unwrap(), stack.root().algorithm());
        recompute(entries, algorithm, stack.contract(), stack.reserved(), &ledger, findings)
            .map(|root| root.to_string())
    };
    assert_eq!(observed(&findings).unwrap(), expected["observed_root"]);
    assert_eq!(observed(&[]).unwrap(), expected["stack_root"]);
}

#[test]
fn the_frozen_image_has_its_roots() {
    let expected: Value = serde_json::from_slice(EXPECTED).unwrap();
    let trust = Trust::any_of(vec![PublicKey::from_pem(KEY).unwrap()]);
    let verify = |bytes: &[u8]| Manifest::verify(&mut Cursor::new(bytes), &trust, Timestamp::UNIX_EPOCH);
    let image = verify(IMAGE).unwrap();
    assert_eq!(root_of(&image), expected["image_root"]);
    let layers = &image.predicate().layers;
    let roots: Vec<_> = layers.iter().map(|layer| layer.root.to_string()).collect();
    assert_eq!(Value::from(roots), expected["image_layer_roots"]);
    let listed = image.layer(1, Cursor::new(IMAGE)).unwrap().map(Result::unwrap);
    let shown = |LayerEntry { path, node }| format!("{} {path}", node.kind().map_or("implied", Kind::name));
    let listed: Vec<_> = listed.map(shown).collect();
    assert_eq!(
        listed,
        [
            "implied /",
            "directory /etc",
            "directory /etc/app",
            "file /etc/app/one",
            "directory /etc/conf.d",
            "opaque /etc/conf.d/.wh..wh..opq",
            "whiteout /etc/motd",
            "implied /opt",
            "implied /opt/x\\x0ay\\xff",
            "file /opt/x\\x0ay\\xff/odd",
            "implied /srv",
            "implied /srv/data",
            "opaque /srv/data/.wh..wh..opq",
            "file /srv/data/new",
            "file /srv/tool",
        ]
    );
    assert_eq!(image.layer(2, Cursor::new(IMAGE)).unwrap().count(), 0);
}
