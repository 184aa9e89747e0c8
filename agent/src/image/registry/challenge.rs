//! What a registry asks for where it answers 401: `WWW-Authenticate`, RFC 9110.

/// One way to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Its scheme, in lower case: `bearer`, `basic`.
    pub scheme: String,
    /// Its parameters; their names in lower case.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The challenges of a header's value; what cannot be read ends them.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = split_word(rest);
        if word.is_empty() {
            return challenges;
        }
        let word = word.to_ascii_lowercase();
        match after.trim_start().strip_prefix('=') {
            None => {
                challenges.push(Challenge { scheme: word, parameters: Vec::new() });
                rest = after;
            }
            Some(value) => {
                let Some((value, after)) = split_value(value.trim_start()) else { return challenges };
                // A parameter before any scheme is nobody's.
                let Some(challenge) = challenges.last_mut() else { return challenges };
                challenge.parameters.push((word, value));
                rest = after;
            }
        }
    }
}

fn split_word(text: &str) -> (&str, &str) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()))
}

fn split_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = split_word(text);
        return (!word.is_empty()).then(|| (word.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            character => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let check = |header: &str, expected: &[(&str, &[(&str, &str)])]| {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            let expected: Vec<Challenge> = expected
                .iter()
                .map(|(scheme, parameters)| Challenge {
                    scheme: (*scheme).to_owned(),
                    parameters: parameters.iter().map(owned).collect(),
                })
                .collect();
            assert_eq!(parse(header), expected, "{header}");
        };
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            &[(
                "bearer",
                &[
                    ("realm", "https://auth.docker.io/token"),
                    ("service", "registry.docker.io"),
                    ("scope", "repository:a/b:pull,push"),
                ],
            )],
        );
        check(
            r#"Basic realm="a \"b\"" , Bearer Realm = x"#,
            &[("basic", &[("realm", "a \"b\"")]), ("bearer", &[("realm", "x")])],
        );
        check("Negotiate", &[("negotiate", &[])]);
        check("", &[]);
        check(r#"realm="x""#, &[]);
        check(r#"Basic realm="x"#, &[("basic", &[])]);
        check("Basic realm=", &[("basic", &[])]);
    }
}
