//! Runs a program and writes the most memory that it held at once, in bytes, to a
//! file: `peak-memory FILE PROGRAM [ARGUMENT…]`. Exits as the program does.
//!
//! A program of its own because the kernel counts to a child what its parent held
//! when it was started, and a process that runs many tests holds much.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use wait4::Wait4;

const USAGE: &str = "usage: peak-memory FILE PROGRAM [ARGUMENT…]";

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let file = arguments.next().context(USAGE)?;
    let program = arguments.next().context(USAGE)?;
    let shown = program.display();
    let child =
        Command::new(&program).args(arguments).spawn().with_context(|| format!("cannot start {shown}"))?;
    let used = child.wait4().with_context(|| format!("cannot wait for {shown}"))?;
    let peak_bytes = used.rusage.maxrss;
    fs::write(&file, peak_bytes.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    let code = used.status.code().with_context(|| format!("{shown} was killed: {}", used.status))?;
    Ok(ExitCode::from(u8::try_from(code)?))
}
