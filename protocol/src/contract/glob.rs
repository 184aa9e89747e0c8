//! Globs over whole paths, held to narrower rules than the library's own.

use globset::GlobBuilder;

/// The longest glob taken: as long as the longest path that Linux takes in a call.
pub const MAX_GLOB_BYTES: usize = 4096;
/// The library goes down into braces by recursion.
pub const MAX_NESTING: usize = 8;

/// How deep braces stand within braces.
pub fn nesting(pattern: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in pattern.bytes() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Compiles a glob, held to the contract's narrower rules.
///
/// # Errors
/// When it breaks one; the text says which.
pub fn compile(pattern: &str) -> Result<globset::Glob, String> {
    if pattern.len() > MAX_GLOB_BYTES {
        let begin: String = pattern.chars().take(40).collect();
        return Err(format!("glob `{}…` is over {MAX_GLOB_BYTES} bytes long", begin.escape_debug()));
    }
    let shown = pattern.escape_debug();
    if nesting(pattern) > MAX_NESTING {
        return Err(format!("glob `{shown}` has braces within braces more than {MAX_NESTING} deep"));
    }
    let Some(rest) = pattern.strip_prefix('/') else {
        return Err(format!(
            "glob `{shown}` must start with `/`: globs match the whole path from the image's root"
        ));
    };
    check_brackets(pattern).map_err(|why| format!("glob `{shown}` {why}"))?;
    for component in rest.split('/') {
        match component {
            "" if rest.is_empty() => {}
            "" => return Err(format!("glob `{shown}` has an empty component")),
            "." | ".." => {
                return Err(format!("glob `{shown}` has the component `{component}`, which no path has"));
            }
            "**" => {}
            _ if component.contains("**") => {
                return Err(format!(
                    "glob `{shown}` has `**` beside other characters; it must be a whole component"
                ));
            }
            _ => {}
        }
    }
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .build()
        .map_err(|error| format!("glob `{shown}` is not valid: {}", error.kind()))
}

/// Whether a glob, or a component of one, matches its own text alone.
pub(super) fn is_plain(glob: &str) -> bool {
    !glob.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

/// Refuses the brackets that would match the separator, and so leave their
/// component: negated ones, and those that hold it or a range across it.
fn check_brackets(pattern: &str) -> Result<(), &'static str> {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' => {
                let class: Vec<char> = chars.by_ref().take_while(|&c| c != ']').collect();
                check_ranges(&class)?;
                match class.first() {
                    None => return Err("has brackets that begin with `]`; name it elsewhere in them"),
                    Some('!' | '^') => {
                        return Err("has a negated class, which would match `/` too; name what it may match");
                    }
                    Some(_) => {}
                }
                if class.contains(&'/')
                    || class.windows(3).any(|w| w[1] == '-' && (w[0]..=w[2]).contains(&'/'))
                {
                    return Err("has brackets that match `/`; name what they may match");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what readers of globs take in different ways: a range upon a range, and
/// characters of more than one byte, since what is matched is bytes.
fn check_ranges(class: &[char]) -> Result<(), &'static str> {
    if !class.iter().all(char::is_ascii) {
        return Err("has brackets with a character beyond ASCII; put it in braces");
    }
    let mut rest = class;
    while let [first, after @ ..] = rest {
        rest = match after {
            ['-', last, after @ ..] if *first != '-' && *last != '-' => after,
            ['-', '-', ..] => {
                return Err("has brackets with a range that ends in `-`; name it first or last");
            }
            _ if *first == '-' && rest.len() != class.len() && !after.is_empty() => {
                return Err("has brackets with `-` between ranges; name it first or last");
            }
            _ => after,
        };
    }
    Ok(())
}
