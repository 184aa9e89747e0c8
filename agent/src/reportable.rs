//! What a report can carry of a look.

use std::io;

use congruent_protocol::report::Outcome;
use congruent_protocol::verification::Verification;

use crate::findings::Findings;

/// The look with all its findings in memory, or, where those alone are longer than
/// a report may be, how many there are. They are not loaded then; `told_by` is the
/// command that tells them.
///
/// # Errors
/// When findings cannot be read back.
pub(crate) fn reportable(
    verification: Verification<Findings>,
    max_bytes: u64,
    told_by: &str,
) -> io::Result<Outcome> {
    let (count, bytes) = (verification.findings.len(), verification.findings.json_bytes());
    if bytes > max_bytes {
        return Ok(Outcome::Withheld(format!(
            "there are {count} findings, which take {bytes} bytes of a report that may have {max_bytes}; \
             `{told_by}` on the node tells them all"
        )));
    }
    let findings = verification.findings.load()?;
    let (verification, _) = verification.replace_findings(findings);
    Ok(Outcome::Verified(Box::new(verification)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::{divergent, kept};

    #[test]
    fn findings_go_along_where_there_is_room() {
        let given = divergent();
        let bytes = kept(given.clone()).findings.json_bytes();
        let in_json = serde_json::to_vec(&given.findings).unwrap().len() as u64;
        assert_eq!(bytes, in_json - 4, "two brackets and two commas");
        let reported = |max_bytes| reportable(kept(given.clone()), max_bytes, "x").unwrap();
        assert_eq!(reported(bytes), Outcome::Verified(Box::new(given.clone())));
        let Outcome::Withheld(why) = reported(bytes - 1) else { panic!("it is reported") };
        assert!(why.starts_with(&format!("there are 3 findings, which take {bytes} bytes")), "{why}");
    }
}
