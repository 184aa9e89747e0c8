//! Which containers are meant by the words on a command line. Pure.

use crate::container::Container;

/// How much of an id runtimes show.
const SHORT_ID: usize = 12;

/// Why a word means no container.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChooseError {
    #[error("no container has the id or name {0:?}, or an id that begins so")]
    None(String),
    #[error("{word:?} may be any of {candidates}: give more of the id, or --runtime")]
    Several { word: String, candidates: String },
}

/// The containers that are meant, in the order of the words, each once.
pub(super) fn choose(containers: &[Container], words: &[String]) -> Result<Vec<Container>, ChooseError> {
    let mut chosen: Vec<&Container> = Vec::new();
    for word in words {
        let one = meant(containers, word)?;
        if !chosen.iter().any(|before| std::ptr::eq(*before, one)) {
            chosen.push(one);
        }
    }
    Ok(chosen.into_iter().cloned().collect())
}

/// The one container that is meant: a whole id comes first, then a whole name, then the
/// beginning of an id. As much of an id as runtimes show counts as much as a name, so that
/// none can be named to stand in another's place.
fn meant<'a>(containers: &'a [Container], word: &str) -> Result<&'a Container, ChooseError> {
    let of = |is_meant: &dyn Fn(&Container) -> bool| {
        let found = containers.iter().filter(|container| is_meant(container));
        Some(found.collect::<Vec<_>>()).filter(|found| !found.is_empty())
    };
    let begins = |container: &Container| !word.is_empty() && container.id.starts_with(word);
    let is_shown = |container: &Container| word.len() >= SHORT_ID && begins(container);
    let found = of(&|container| container.id == word)
        .or_else(|| of(&|container| container.name.as_deref() == Some(word) || is_shown(container)))
        .or_else(|| of(&begins))
        .unwrap_or_default();
    match found[..] {
        [] => Err(ChooseError::None(word.to_owned())),
        [one] => Ok(one),
        _ => {
            let names = found.iter().map(|one| format!("{} {}", one.runtime.name(), one.id));
            let candidates = names.collect::<Vec<_>>().join(", ");
            Err(ChooseError::Several { word: word.to_owned(), candidates })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Runtime;

    #[test]
    fn words_mean_one_container() {
        let named = |runtime, id: &str, name: &str| Container {
            name: Some(name.to_owned()),
            ..Container::new(runtime, id)
        };
        let all = [
            named(Runtime::Docker, "aa01", "web"),
            named(Runtime::Docker, "aa02", "aa"),
            named(Runtime::Podman, "bb01", "db"),
            named(Runtime::Crio, "bb02", "db"),
            named(Runtime::Containerd, "web-2", "x"),
            named(Runtime::Docker, "cc01", "bb01"),
            named(Runtime::Docker, "0123456789abcdef", "y"),
            named(Runtime::Docker, "cc02", "0123456789ab"),
            named(Runtime::Docker, "cc03", "0123456789a"),
        ];
        let check = |word: &str, expected: Result<&str, &str>| {
            let found = choose(&all, &[word.to_owned()]);
            let found = found.map(|chosen| chosen[0].id.clone()).map_err(|error| error.to_string());
            match expected {
                Ok(id) => assert_eq!(found.as_deref(), Ok(id), "{word}"),
                Err(why) => assert!(found.unwrap_err().contains(why), "{word}"),
            }
        };
        check("aa01", Ok("aa01"));
        check("aa", Ok("aa02"));
        check("web", Ok("aa01"));
        check("web-", Ok("web-2"));
        check("bb01", Ok("bb01"));
        check("bb02", Ok("bb02"));
        check("0123456789ab", Err("docker 0123456789abcdef, docker cc02"));
        check("0123456789a", Ok("cc03"));
        check("0123456789abc", Ok("0123456789abcdef"));
        check("db", Err("podman bb01, crio bb02"));
        check("b", Err("any of"));
        check("", Err("no container"));
        check("zz", Err("no container"));
        let twice = choose(&all, &["web".to_owned(), "aa01".to_owned()]).unwrap();
        assert_eq!(twice.len(), 1);
    }
}
