//! Everything end to end: the real binaries over real trees, sockets and databases.

#[cfg(test)]
mod mutation;
