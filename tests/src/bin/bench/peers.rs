//! Programs by others that go over the same files, each as fast as its options
//! make it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use congruent_tests::sandbox::Sandbox;

use super::cores;
use super::measure::Program;
use super::race::fastest;

/// What mtree compares; it knows no extended attributes.
const MTREE_KEYWORDS: &str = "type,mode,uid,gid,size,link,sha256";
/// What AIDE compares: everything that a manifest holds. Debian's knows no BLAKE3.
const AIDE_ATTRIBUTES: &str = "p+u+g+s+l+X+acl+xattrs+sha256";

/// The checkers, each with what it needs of the folder written down.
pub(crate) fn checkers(folder: &Path, sandbox: &Sandbox) -> Result<Vec<Program>> {
    Ok(vec![hashdeep(folder, sandbox)?, mtree(folder, sandbox)?, aide(folder, sandbox)?])
}

/// b3sum over all files by the arguments of xargs that suit it best.
pub(crate) fn best_b3sum(folder: &Path, sandbox: &Sandbox) -> Result<Program> {
    let list = list_files(folder, sandbox)?;
    let mut all = Vec::new();
    for processes in [cores(), cores() * 2] {
        all.extend([250, 1000, 4000].map(|files| b3sum(&list, processes, files)));
    }
    fastest("b3sum", all)
}

/// b3sum over the listed files, so many processes at once with so many files each.
pub(crate) fn b3sum(list: &Path, processes: usize, files: usize) -> Program {
    let mut xargs = Command::new("xargs");
    xargs.args(["-0", "-P", &processes.to_string(), "-n", &files.to_string(), "-a"]).arg(list);
    xargs.args(["b3sum", "--num-threads", "1"]);
    Program::new(format!("b3sum, xargs -P {processes} -n {files}"), &xargs)
}

/// The folder's regular files, each ended by NUL.
pub(crate) fn list_files(folder: &Path, sandbox: &Sandbox) -> Result<PathBuf> {
    let list = sandbox.path("files");
    let mut find = Command::new("find");
    print_into(find.arg(folder).args(["-type", "f", "-print0"]), &list)?;
    Ok(list)
}

/// By default it would hash what links lead to as well.
fn hashdeep(folder: &Path, sandbox: &Sandbox) -> Result<Program> {
    let known = sandbox.path("hashdeep");
    let recursive = ["-r", "-o", "f"];
    print_into(Command::new("hashdeep").args(recursive).args(["-c", "sha256"]).arg(folder), &known)?;
    let mut audit = Command::new("hashdeep");
    audit.args(recursive).args(["-a", "-k"]).arg(known).arg(folder);
    Ok(Program::new("hashdeep -a, SHA-256", &audit))
}

fn mtree(folder: &Path, sandbox: &Sandbox) -> Result<Program> {
    let spec = sandbox.path("mtree");
    print_into(Command::new("mtree").args(["-c", "-k", MTREE_KEYWORDS, "-p"]).arg(folder), &spec)?;
    let mut check = Command::new("mtree");
    check.arg("-f").arg(spec).arg("-p").arg(folder);
    Ok(Program::new("NetBSD mtree, SHA-256", &check))
}

fn aide(folder: &Path, sandbox: &Sandbox) -> Result<Program> {
    let database = sandbox.path("aide.db");
    let folder = folder.to_str().context("AIDE is not given folders whose names are not UTF-8")?;
    let workers = cores();
    let configuration = format!(
        "database_in=file:{database}\ndatabase_out=file:{database}\ngzip_dbout=no\ndatabase_attrs=sha256\n\
         num_workers={workers}\nreport_url=stdout\n{}(/|$) {AIDE_ATTRIBUTES}\n",
        pattern(folder),
        database = database.display()
    );
    let file = sandbox.write("aide.conf", configuration)?;
    let command = |what: &str| {
        let mut aide = Command::new("aide");
        aide.arg(what).arg("--config").arg(&file);
        Program::new(format!("AIDE {what}, {workers} workers, SHA-256"), &aide)
    };
    command("--init").run()?;
    Ok(command("--check"))
}

/// A path as AIDE's regular expressions take it.
fn pattern(path: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || matches!(character, '/' | '_' | '-');
    path.trim_end_matches('/').chars().fold(String::new(), |mut pattern, character| {
        if !is_plain(character) {
            pattern.push('\\');
        }
        pattern.push(character);
        pattern
    })
}

fn print_into(command: &mut Command, file: &Path) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = File::create(file).with_context(|| format!("cannot make {}", file.display()))?;
    let status = command.stdout(out).status().with_context(|| format!("cannot start {name}"))?;
    ensure!(status.success(), "{name} failed: {status}");
    ensure!(fs::metadata(file).is_ok_and(|about| about.len() > 0), "{name} printed nothing");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_literal() {
        for (path, expected) in
            [("/usr", "/usr"), ("/usr/", "/usr"), ("/a b/c++.d", r"/a\ b/c\+\+\.d"), ("/[x]", r"/\[x\]")]
        {
            assert_eq!(pattern(path), expected);
        }
    }
}
