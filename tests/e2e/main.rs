//! Everything end to end: the real binaries over real trees, sockets and databases.

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod mutation;
