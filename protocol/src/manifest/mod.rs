//! The manifest: the signed statement of what was baked.
//!
//! One file: a magic line that names the version, the DSSE envelope with the
//! in-toto statement, and the entries section, bound to the statement by its
//! digest. `FORMAT.md` has the layout. Nothing is believed before
//! [`Manifest::verify`] has checked it all on the open file.

mod entries;
mod envelope;
mod file;
mod lint;
mod rules;
mod statement;

pub use entries::{EntriesError, EntriesReader, EntriesWriter, LayerReader, LayerWriter, ListedEntry};
pub use envelope::{Envelope, EnvelopeError, EnvelopeSignature};
pub use file::{Manifest, ManifestError, PackedSection, SignedBy, write_envelope, write_manifest};
pub use lint::{LintAllowance, LintFinding, LintReport};
pub(crate) use rules::Rules;
pub use statement::{
    Baked, EntriesSummary, ImageLayer, ImageOrigin, ManifestKind, Origin, PREDICATE_TYPE, Package, Packages,
    Predicate, STATE_DIRECTORY, Statement, StatementError, check_name,
};
