//! Where runtimes keep their state: the usual places, what mounts show, and what
//! the operator names.

use std::collections::{HashMap, HashSet};
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use congruent_protocol::path::escape;

use super::containerd::Containerd;
use super::processes::{self, Process, Processes};
use super::store::{StateError, Store, chain_of};
use super::{Container, Runtime, containerd, docker, join, storage};
use crate::regular;

/// Where runtimes of the whole host keep their state unless told otherwise.
const USUAL: [&str; 3] = ["/var/lib/docker", "/var/lib/containers/storage", "/var/lib/containerd"];
/// Where Docker has the containerd that it starts itself, from its own root.
const DOCKERS_CONTAINERD: &str = "containerd/daemon";
/// Where Podman of a user keeps its state, from the user's home.
const ROOTLESS: &str = ".local/share/containers/storage";
/// How long a container that starts or ends is waited for, and for how long at first
/// between two looks.
const PATIENCE: Duration = Duration::from_millis(600);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// After how many looks it is believed that nothing runs of what is said to run: state may
/// be of before a crash.
const LOOKS_FOR_A_PROCESS: u32 = 4;
/// The longest /etc/passwd taken.
const MAX_PASSWD_BYTES: u64 = 16 << 20;

/// Directories of layers in a data root: what stands before and after the layer's
/// own name, and of which runtime.
const LAYOUTS: [(&str, &str, Runtime); 3] = [
    ("overlay2", "diff", Runtime::Docker),
    ("overlay", "diff", Runtime::Podman),
    ("io.containerd.snapshotter.v1.overlayfs/snapshots", "fs", Runtime::Containerd),
];

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindError {
    #[error("cannot open the data root {}", .path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{} is no data root: it holds neither Docker's state nor containerd's nor that of containers/storage",
        .0.display()
    )]
    NoRoot(PathBuf),
    #[error("cannot look through /proc")]
    Proc(#[source] io::Error),
}

/// What was found on a host.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By runtime and id.
    pub(crate) containers: Vec<Container>,
    /// The data roots that were read.
    pub(crate) looked: Vec<PathBuf>,
    /// What could not be looked at, so that there may be more containers.
    pub(crate) gaps: Vec<String>,
}

/// Finds every container on this host; `named` are data roots at places of their own.
///
/// A container that starts or ends while it is looked for may show neither. So it is
/// looked for again, for well under a second; where all are settled, once. One that changes
/// still at the last look is told as it ran at an earlier one, or else as it is.
///
/// # Errors
/// When a named root is none, or nothing can be told of processes.
pub(crate) fn find(named: &[PathBuf]) -> Result<Found, FindError> {
    let (began, mut looks, mut pause) = (Instant::now(), 0, FIRST_PAUSE);
    let mut ran = HashMap::new();
    loop {
        let mut found = look(named)?;
        looks += 1;
        let is_unsettled = |container: &Container| {
            container.is_changing && (looks < LOOKS_FOR_A_PROCESS || !container.is_said_to_run())
        };
        if !found.containers.iter().any(is_unsettled) || began.elapsed() >= PATIENCE {
            recall(&mut found.containers, ran);
            return Ok(found);
        }
        let running = found.containers.into_iter().filter(|one| one.is_running() && !one.is_changing);
        ran.extend(running.map(|container| (key(&container), container)));
        thread::sleep(pause);
        pause *= 2;
    }
}

/// Which of them a container is.
fn key(container: &Container) -> (Runtime, String) {
    (container.runtime, container.id.clone())
}

/// Puts those that change as they ran before. On a host where containers come and go all
/// the time each look may see another change.
fn recall(containers: &mut [Container], mut ran: HashMap<(Runtime, String), Container>) {
    for container in containers.iter_mut().filter(|container| container.is_changing) {
        if let Some(earlier) = ran.remove(&key(container)) {
            *container = earlier;
        }
    }
}

/// Looks at the host once: at processes and at what runtimes keep side by side, since
/// either takes as long.
fn look(named: &[PathBuf]) -> Result<Found, FindError> {
    thread::scope(|scope| {
        let seen = scope.spawn(|| processes::look(Path::new("/proc"), Path::new("/sys/fs/cgroup")));
        let mut search = Search::of_places(named)?;
        let seen = seen.join().unwrap_or_else(|panicked| resume_unwind(panicked)).map_err(FindError::Proc)?;
        search.take_mounted(&seen.of_containers);
        let mut found = search.finish(&seen);
        // What ended between the two may be told by one alone, or as it ran before.
        for container in &mut found.containers {
            container.is_changing |= container.has_ended();
        }
        Ok(found)
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Docker,
    Storage,
    Containerd,
}

fn kind(store: &Store) -> Option<Kind> {
    if containerd::is_root(store) {
        Some(Kind::Containerd)
    } else if storage::is_root(store) {
        Some(Kind::Storage)
    } else {
        docker::is_root(store).then_some(Kind::Docker)
    }
}

#[derive(Default)]
struct Search {
    found: Found,
    /// Roots that were taken, whatever they are called.
    taken: HashSet<(u64, u64)>,
    /// Docker's are read last: what it keeps in containerd must be known by then.
    dockers: Vec<Store>,
    containerds: Vec<Containerd>,
}

impl Search {
    /// Takes the named roots, and those at the usual places.
    fn of_places(named: &[PathBuf]) -> Result<Self, FindError> {
        let mut search = Self::default();
        for path in named {
            // As the kernel names it in the mounts that lie in it.
            let store = std::path::absolute(path).and_then(|path| Store::open(&path));
            let store = store.map_err(|source| FindError::Open { path: path.clone(), source })?;
            if kind(&store).is_none() {
                return Err(FindError::NoRoot(path.clone()));
            }
            search.take(store);
        }
        for path in USUAL.map(Path::new) {
            search.try_take(path, Store::open(path));
        }
        for home in homes() {
            let path = home.join(ROOTLESS);
            search.try_take(&path, Store::open_beneath(&home, &path));
        }
        Ok(search)
    }

    /// Takes a root that may not be there.
    fn try_take(&mut self, path: &Path, opened: io::Result<Store>) {
        match opened {
            Ok(store) => self.take(store),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => self.found.gaps.push(format!("cannot open {}: {error}", path.display())),
        }
    }

    /// Takes a root to read, once. Nothing of one that holds no state.
    fn take(&mut self, store: Store) {
        let (Some(kind), Ok(identity)) = (kind(&store), store.identity()) else { return };
        if !self.taken.insert(identity) {
            return;
        }
        self.found.looked.push(store.root().to_owned());
        match kind {
            Kind::Docker => {
                let own = store.path(DOCKERS_CONTAINERD);
                let opened = Store::open_beneath(store.root(), &own);
                self.dockers.push(store);
                self.try_take(&own, opened);
            }
            Kind::Storage => {
                let (containers, errors) = storage::read(&store);
                self.found.containers.extend(containers);
                self.lacks(&errors);
            }
            Kind::Containerd => {
                let (containerd, errors) = Containerd::open(store);
                self.found.containers.extend(containerd.containers());
                self.containerds.push(containerd);
                self.lacks(&errors);
            }
        }
    }

    fn lacks(&mut self, errors: &[StateError]) {
        self.found.gaps.extend(errors.iter().map(|error| chain_of(error)));
    }

    /// Takes the roots that mounts of containers lead to.
    fn take_mounted(&mut self, processes: &[Process]) {
        let mut tried = HashSet::new();
        for process in processes {
            let Some((root, _, _)) = join::upper(process).as_deref().and_then(laid_out) else { continue };
            if !tried.insert(root.clone()) {
                continue;
            }
            // Whoever is root of a user namespace only chose the path, and may have
            // put links into it.
            let host_users = process.is_of_host_users();
            let opened =
                if host_users { Store::open(&root) } else { Store::open_beneath(Path::new("/"), &root) };
            self.try_take(&root, opened);
        }
    }

    /// Reads what is left, and brings in what runs.
    fn finish(mut self, seen: &Processes) -> Found {
        for store in std::mem::take(&mut self.dockers) {
            match docker::read(&store, &self.containerds) {
                Ok(containers) => self.found.containers.extend(containers),
                Err(error) => self.lacks(&[error]),
            }
        }
        let unknown = join::join(&mut self.found.containers, &seen.of_containers, &seen.host);
        let mut told = HashSet::new();
        for container in unknown.into_iter().filter_map(|process| without_state(process, seen)) {
            if told.insert(key(&container)) {
                self.found.containers.push(container);
            }
        }
        if seen.forbidden > 0 {
            let why =
                format!("processes that may not be looked at: {}; root may look at all", seen.forbidden);
            self.found.gaps.push(why);
        }
        self.found.containers.sort_by_key(key);
        self.found
    }
}

/// What can be said of a container that no state tells of. A process that neither
/// its cgroup nor its root makes a container's is none.
fn without_state(process: &Process, seen: &Processes) -> Option<Container> {
    let upper = join::upper(process);
    let laid_out = upper.as_deref().and_then(laid_out);
    let runtime = process.cgroup.as_ref().and_then(|cgroup| cgroup.runtime);
    let runtime = runtime.or(laid_out.as_ref().map(|(_, _, runtime)| *runtime));
    let id = process.cgroup.as_ref().map(|cgroup| cgroup.id.clone());
    let id = id.or(laid_out.map(|(_, layer, _)| layer))?;
    let mut container = Container::new(runtime.unwrap_or(Runtime::Containerd), &id);
    container.gaps.push("it runs, and no runtime's state that was read tells of it".to_owned());
    // It may have been made after the state was read.
    container.is_changing = process.is_new;
    join::tell(&mut container, process, &seen.host);
    container.upper = upper;
    Some(container)
}

/// The data root, the layer's own name and the runtime that the path of an upper
/// directory has.
fn laid_out(upper: &Path) -> Option<(PathBuf, String, Runtime)> {
    LAYOUTS.into_iter().find_map(|(above, below, runtime)| {
        let layer = upper.parent().filter(|_| upper.ends_with(below))?;
        let name = escape(layer.file_name()?.as_encoded_bytes()).into_owned();
        let within = layer.parent().filter(|folder| folder.ends_with(above))?;
        let root = within.ancestors().nth(Path::new(above).components().count())?;
        root.is_absolute().then(|| (root.to_owned(), name, runtime))
    })
}

/// The homes of all users.
fn homes() -> Vec<PathBuf> {
    let passwd = regular::read(Path::new("/etc/passwd"), MAX_PASSWD_BYTES).unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd).into_owned();
    let homes = passwd.lines().filter_map(|line| line.split(':').nth(5)).map(PathBuf::from);
    let mut homes: Vec<_> = homes.filter(|home| home.is_absolute() && home.parent().is_some()).collect();
    homes.sort();
    homes.dedup();
    homes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::ContainerState;

    #[test]
    fn what_changes_is_told_as_it_ran() {
        use ContainerState::{Restarting, Running, Unknown};
        let of = |id: &str, state, is_changing| Container {
            state,
            is_changing,
            ..Container::new(Runtime::Docker, id)
        };
        let ran = [of("a", Running, false), of("b", Running, false), of("gone", Running, false)];
        let ran = ran.into_iter().map(|container| (key(&container), container)).collect();
        let mut last = [of("a", Unknown, true), of("b", Restarting, false), of("new", Unknown, true)];
        recall(&mut last, ran);
        assert_eq!(last.map(|container| container.state), [Running, Restarting, Unknown]);
    }

    #[test]
    fn mounts_tell_where_data_roots_are() {
        let check = |upper: &str, expected: Option<(&str, &str, Runtime)>| {
            let found = laid_out(Path::new(upper));
            let found = found.as_ref().map(|(root, layer, of)| (root.to_str().unwrap(), &layer[..], *of));
            assert_eq!(found, expected, "{upper}");
        };
        check("/var/lib/docker/overlay2/ab/diff", Some(("/var/lib/docker", "ab", Runtime::Docker)));
        check("/srv/x/overlay/ab/diff", Some(("/srv/x", "ab", Runtime::Podman)));
        let snapshot = "/c/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs";
        check(snapshot, Some(("/c", "7", Runtime::Containerd)));
        for no in [
            "/",
            "",
            "/diff",
            "overlay2/a/diff",
            "/x/overlay2/a/work",
            "/x/other/a/diff",
            "/x/snapshots/1/fs",
        ] {
            check(no, None);
        }
    }
}
