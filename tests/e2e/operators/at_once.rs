//! Several command lines at once: nobody overwrites what they have not seen.

use anyhow::{Context, Result};

use super::Scene;

/// How many change one group at the same time.
const AT_ONCE: usize = 6;

#[test]
fn of_two_that_change_a_group_at_once_one_is_told() -> Result<()> {
    let scene = Scene::new()?;
    let admin = scene.admin();
    let started: Vec<_> = (0..AT_ONCE)
        .map(|at| {
            let environment = format!("env-{at}");
            let arguments = ["group", "edit", "fleet", "--environment", &environment, "--reason", "a race"];
            let mut command = admin.command(&arguments)?;
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
            command.spawn().context("cannot start an operator")
        })
        .collect::<Result<_>>()?;
    let mut done = 0;
    for child in started {
        let ended = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        match ended.status.code() {
            Some(0) => done += 1,
            code => assert!(code == Some(2) && said.contains("look at it again"), "{code:?}: {said}"),
        }
    }
    assert!(done >= 1, "none of {AT_ONCE} got through");
    let versions = scene.admin().answer(&["group", "history", "fleet"])?["versions"].take();
    let versions = versions.as_array().context("no versions")?;
    assert_eq!(versions.len(), done + 1, "an edit was lost or counted twice");
    assert_eq!(scene.audit()?.len(), done + 1);
    Ok(())
}
