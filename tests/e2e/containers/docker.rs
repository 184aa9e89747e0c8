//! Docker's containers.

use anyhow::Result;
use congruent_tests::docker::Docker;
use congruent_tests::sandbox::Sandbox;
use serde_json::{Value, json};

use super::{containers, diff_ids, lowers, mount, told};

/// Holds what is told to what Docker says.
fn is_as_docker_says(docker: &Docker, container: &Value, state: &str) -> Result<()> {
    let says = docker.inspect(container["id"].as_str().unwrap_or_default())?;
    let image = docker.inspect("app:1")?;
    let graph = &says["GraphDriver"]["Data"];
    assert_eq!(container["runtime"], "docker");
    assert_eq!(container["state"], state);
    assert_eq!(json!(format!("/{}", container["name"].as_str().unwrap_or_default())), says["Name"]);
    assert_eq!((&container["image"], &container["config_digest"]), (&json!("app:1"), &says["Image"]));
    assert_eq!(json!(lowers(container)), graph["LowerDir"]);
    assert_eq!(container["writable"]["upper"], graph["UpperDir"]);
    assert_eq!(json!(diff_ids(container)), image["RootFS"]["Layers"]);
    let pid = says["State"]["Pid"].as_u64().filter(|&pid| pid > 0);
    assert_eq!(container["pid"].as_u64(), pid);
    assert_eq!(container["gaps"], json!([]));
    for layer in container["layers"].as_array().into_iter().flatten() {
        assert!(layer["tar_split"].as_str().is_some_and(|path| std::path::Path::new(path).is_file()));
    }
    Ok(())
}

#[test]
fn all_of_dockers_containers_are_told_as_docker_tells_them() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let mut docker = Docker::start(&sandbox.path("docker"))?;
    docker.build()?;
    let bind = format!("--volume={}:/bind:ro", sandbox.folder().display());
    let web = docker.sleeper("web", &["--volume=data:/data", &bind, "--tmpfs=/scratch"])?;
    let sealed = docker.sleeper("sealed", &["--read-only"])?;
    let frozen = docker.sleeper("frozen", &[])?;
    docker.docker(&["pause", "frozen"])?;
    let made = docker.docker(&["create", "--network=none", "--name=made", "app:1", "/bin/true"])?;
    docker.docker(&["run", "--network=none", "--name=over", "app:1", "/bin/true"])?;
    let over = docker.inspect("over")?["Id"].as_str().unwrap_or_default().to_owned();
    let root = docker.data_root();
    for (id, state) in
        [(&web, "running"), (&sealed, "running"), (&frozen, "paused"), (&made, "created"), (&over, "stopped")]
    {
        is_as_docker_says(&docker, &told(&root, id)?, state)?;
    }
    let told_web = told(&root, &web)?;
    assert_eq!(mount(&told_web, "/data"), Some(("volume", true, true)));
    assert_eq!(mount(&told_web, "/bind"), Some(("bind", false, true)));
    assert_eq!(mount(&told_web, "/scratch"), Some(("tmpfs", true, false)));
    assert_eq!(mount(&told_web, "/etc/hosts"), Some(("runtime", true, true)));
    assert_eq!(mount(&told_web, "/proc"), Some(("kernel", true, false)));
    assert_eq!(told_web["writable"]["root"], true);
    assert_eq!(told(&root, &sealed)?["writable"]["root"], false);

    // Without its daemon all is the same.
    docker.stop_daemon()?;
    assert_eq!(told(&root, &web)?, told_web);
    assert_eq!(told(&root, &frozen)?["state"], "paused");
    docker.start_daemon()?;

    // Found by its mounts alone, whatever data root is named.
    let elsewhere = Docker::start(&sandbox.path("elsewhere"))?;
    assert_eq!(told(&elsewhere.data_root(), &web)?, told_web);
    Ok(())
}

#[test]
fn containers_are_chosen_by_id_and_name() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let docker = Docker::start(&sandbox.path("docker"))?;
    docker.build()?;
    let create =
        |name: &str| docker.docker(&["create", "--network=none", "--name", name, "app:1", "/bin/true"]);
    // A name that no other test has.
    let name = format!("chosen-{}", std::process::id());
    let id = create(&name)?;
    let root = docker.data_root();
    for word in [&id[..], &id[..20], &name] {
        let ended = containers(&root, &[word])?;
        assert!(
            ended.text().starts_with(&format!("{name}  docker  created\n  id        {id}\n")),
            "{ended:?}"
        );
        assert!(ended.text().contains("\n  layer     sha256:"), "{ended:?}");
    }
    let listed = containers(&root, &["--runtime", "docker"])?.text();
    let line = listed.lines().find(|line| line.contains(&name)).unwrap_or_default();
    assert!(line.starts_with(&id[..12]) && line.ends_with("app:1"), "{listed}");
    let check = |words: &[&str], says: &str| -> Result<()> {
        let ended = containers(&root, words)?;
        assert_eq!((ended.code, ended.stdout.is_empty()), (Some(2), true), "{words:?}");
        assert!(ended.stderr.contains(says), "{words:?}: {}", ended.stderr);
        Ok(())
    };
    check(&["no-such-container"], "no container has the id or name \"no-such-container\"")?;
    check(&["--runtime", "podman", &id], "no container has the id or name")?;
    check(&["--data-root", "/proc"], "/proc is no data root")?;
    check(&["--data-root", "/no/such/place"], "cannot open the data root /no/such/place")?;
    // Seventeen begin with sixteen digits, so that two are alike.
    let ids = (0..16).map(|at| create(&format!("{name}-{at}"))).collect::<Result<Vec<_>>>()?;
    let firsts: Vec<_> = ids.iter().chain([&id]).map(|id| &id[..1]).collect();
    let twice = firsts.iter().find(|first| firsts.iter().filter(|other| other == first).count() > 1);
    check(&[twice.expect("there are but sixteen digits")], "may be any of docker ")
}
