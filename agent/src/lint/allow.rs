//! What was chosen: which lints are denied, and which findings are expected.

use std::str::FromStr;

use congruent_protocol::contract::glob;
use congruent_protocol::path::{TreePath, escape};
use globset::GlobMatcher;

use super::Lint;

/// What stands for every lint.
const ALL: &str = "all";

/// One lint, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lints {
    All,
    One(Lint),
}

impl Lints {
    pub(crate) fn has(self, lint: Lint) -> bool {
        self == Self::All || self == Self::One(lint)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => ALL,
            Self::One(lint) => lint.name(),
        }
    }
}

impl FromStr for Lints {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == ALL {
            return Ok(Self::All);
        }
        Lint::named(name).map(Self::One).ok_or_else(|| {
            let names = Lint::ALL.map(Lint::name).join(", ");
            format!("there is no lint {:?}; there are {names}, and {ALL}", escape(name.as_bytes()))
        })
    }
}

/// Findings that are expected: `LINT:GLOB`, such as `setuid:/usr/bin/*`.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    pub(crate) lints: Lints,
    pub(crate) glob: String,
    matcher: GlobMatcher,
}

impl Allowance {
    pub(crate) fn covers(&self, lint: Lint, path: &TreePath) -> bool {
        self.lints.has(lint) && {
            let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path.as_bytes());
            self.matcher.is_match(path)
        }
    }

    /// Reads one a line; `#` begins a comment, as in a file kept beside the
    /// image's recipe. Says which line is wrong.
    pub(crate) fn from_lines(text: &str) -> Result<Vec<Self>, String> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        lines
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(number, line)| line.parse().map_err(|why| format!("line {number}: {why}")))
            .collect()
    }
}

impl FromStr for Allowance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pattern) = text.split_once(':').ok_or_else(|| {
            format!("{:?} is not LINT:GLOB, such as setuid:/usr/bin/sudo", escape(text.as_bytes()))
        })?;
        let matcher = glob(pattern)?.compile_matcher();
        Ok(Self { lints: name.parse()?, glob: pattern.to_owned(), matcher })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, says: &str) {
        let error = text.parse::<Allowance>().unwrap_err();
        assert!(error.contains(says), "{text:?}: {says:?} is not in {error:?}");
    }

    #[test]
    fn an_allowance_covers_its_lint_at_its_paths() {
        let covers = |text: &str, lint, path: &str| {
            text.parse::<Allowance>().unwrap().covers(lint, &TreePath::new(path).unwrap())
        };
        assert!(covers("setuid:/usr/bin/*", Lint::Setuid, "/usr/bin/su"));
        assert!(!covers("setuid:/usr/bin/*", Lint::WritablePath, "/usr/bin/su"));
        assert!(!covers("setuid:/usr/bin/*", Lint::Setuid, "/usr/bin/x/su"));
        assert!(covers("all:/opt/**", Lint::Leftover, "/opt/x/.netrc"));
    }

    #[test]
    fn what_is_no_allowance_is_named() {
        check("setuid", "is not LINT:GLOB");
        check("suid:/bin/su", "there is no lint \"suid\"; there are private-key, credential,");
        check("setuid:bin/su", "must start with `/`");
        check("setuid:", "must start with `/`");
        check("setuid:/a[b", "`/a[b` is not valid");
        check("\x1b:/a", "\\x1b");
    }

    #[test]
    fn a_file_holds_one_a_line() {
        let text = "# expected\n\nsetuid:/usr/bin/su\r\n  leftover:/var/log/**  \n";
        let globs: Vec<_> = Allowance::from_lines(text).unwrap().into_iter().map(|a| a.glob).collect();
        assert_eq!(globs, ["/usr/bin/su", "/var/log/**"]);
        let error = Allowance::from_lines("setuid:/a\nnone\n").unwrap_err();
        assert!(error.starts_with("line 2: \"none\" is not"), "{error}");
    }
}
