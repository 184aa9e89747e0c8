//! A base and two add-ons of small trees: refused, or a stack whose entries are
//! in tree order, hash to its root, and come from where the contract says.
#![no_main]

use std::io::Cursor;

use arbitrary::{Result, Unstructured};
use congruent_fuzz::{Tree, bake, tree};
use congruent_protocol::contract::{Class, Contract, XattrScope};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::manifest::ManifestKind::{AddOn, Base};
use congruent_protocol::stack::Stack;
use congruent_protocol::tree::{Contribution, TreeHasher};

const CONTRACT: &str = "base = 'none'
rule = [
    { path = '/{a,b}', class = 'add-on' },
    { path = '/{a,b}/**', class = 'add-on', forbid = ['setuid', 'device'] },
    { path = '/a/a-b', class = 'immutable' },
    { path = '/b/a', class = 'add-on', mtime = true },
]";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What ends too early makes nothing.
    let _ = run(&mut Unstructured::new(bytes));
});

fn run(bytes: &mut Unstructured<'_>) -> Result<()> {
    let contract = Contract::from_toml(CONTRACT).expect("the contract is constant");
    let usual = XattrScope::default();
    let mut make = || tree(bytes, |name| usual.contains(name));
    let trees = [make()?, make()?, make()?];
    let (base, base_file) = bake("base", Base, contract, &trees[0]);
    let (one, one_file) = bake("one", AddOn, Contract::empty(), &trees[1]);
    let (two, two_file) = bake("two", AddOn, Contract::empty(), &trees[2]);
    let inputs = || [&base_file, &one_file, &two_file].map(Cursor::new).to_vec();
    if let Ok(stack) = Stack::assemble(base, vec![one, two], inputs()) {
        check(&stack, inputs(), &trees);
    }
    Ok(())
}

fn check(stack: &Stack, inputs: Vec<Cursor<&Vec<u8>>>, trees: &[Tree; 3]) {
    let mut hasher = TreeHasher::new(Algorithm::Blake3);
    let mut count = 0;
    for listed in stack.entries(inputs).expect("memory can be read") {
        let listed = listed.expect("it was read before");
        let terms = stack.contract().terms_of(&listed.path);
        let of_base = trees[0].get(&listed.path);
        let of_add_on = trees[1..].iter().filter_map(|tree| tree.get(&listed.path));
        match of_base {
            Some(baked) => assert_eq!(*baked, listed.entry),
            None => {
                assert_eq!(terms.class, Class::AddOn);
                assert!(of_add_on.clone().any(|entry| *entry == listed.entry));
                assert!(terms.forbidden_of(&listed.entry).is_empty());
            }
        }
        hasher.push(&listed.path, Contribution::of(&listed.entry, terms)).expect("entries are in order");
        count += 1;
    }
    assert_eq!((hasher.finish(), count), (stack.root(), stack.entries_count()));
    assert!(trees[0].len() as u64 <= count);
}
