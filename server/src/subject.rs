//! Which subject is meant: a node, or a container on it.

use std::fmt;

/// What is judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SubjectId {
    pub(crate) node: String,
    /// The container's id; none where it is the node itself.
    pub(crate) container: Option<String>,
}

impl SubjectId {
    /// A node itself.
    pub(crate) fn node(node: &str) -> Self {
        Self { node: node.to_owned(), container: None }
    }

    /// A container on a node.
    pub(crate) fn container(node: &str, container: &str) -> Self {
        Self { node: node.to_owned(), container: Some(container.to_owned()) }
    }

    /// What it is, as a word.
    pub(crate) fn kind(&self) -> &'static str {
        if self.container.is_some() { "container" } else { "node" }
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.container {
            Some(container) => write!(f, "container {container} on node {}", self.node),
            None => write!(f, "node {}", self.node),
        }
    }
}
