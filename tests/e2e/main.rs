//! Everything end to end: the real binaries over real trees, sockets and databases.

#[cfg(test)]
mod agent_unit;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod bucket;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod containers;
#[cfg(test)]
mod contract_commands;
#[cfg(test)]
mod contracts;
#[cfg(test)]
mod diff;
#[cfg(test)]
mod end_to_end;
#[cfg(test)]
mod enrolment;
#[cfg(test)]
mod everything_gone;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod filesystems;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod images;
#[cfg(test)]
mod interchange;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod lint;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod output_formats;
#[cfg(test)]
mod policy_schemas;
#[cfg(test)]
mod promise;
#[cfg(test)]
mod races;
#[cfg(test)]
mod real_report;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod second_reader;
#[cfg(test)]
mod store_faults;
#[cfg(test)]
mod sweeps;
#[cfg(test)]
mod three_users;
#[cfg(test)]
mod unstable;
#[cfg(test)]
mod watch;
