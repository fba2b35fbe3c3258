//! Control groups: what those grant that this process is in, its own and all above, of both versions.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Calls `read` for each group that may limit `controller`, with its folder and whether it is of version 2;
/// returns what it found. `root` is where the file system begins.
pub(crate) fn read_all<T>(
    root: &Path,
    controller: &str,
    read: impl Fn(&Path, bool) -> Option<T>,
) -> Vec<T> {
    let Ok(groups) = fs::read_to_string(root.join("proc/self/cgroup")) else { return Vec::new() };
    let mount = root.join("sys/fs/cgroup");
    let mut found = Vec::new();
    for line in groups.lines() {
        // number:controllers:path; version 2 has number 0 and no controllers.
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let is_v2 = controllers.is_empty();
        let mounts = match is_v2 {
            true => vec![mount.clone()],
            false if controllers.split(',').any(|one| one == controller) => {
                vec![mount.join(controllers), mount.join(controller)]
            }
            false => continue,
        };
        let folders = mounts.iter().flat_map(|mount| folders(mount, path));
        found.extend(folders.filter_map(|folder| read(&folder, is_v2)));
    }
    found
}

/// The folders from the mount down to the group at `path`.
fn folders(mount: &Path, path: &str) -> Vec<PathBuf> {
    let names = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
    let mut all = vec![PathBuf::from(mount)];
    for name in names {
        all.push(all[all.len() - 1].join(name));
    }
    all
}

/// A file system of its own for tests, gone at its end.
#[cfg(test)]
pub(crate) struct TestRoot(pub PathBuf);

#[cfg(test)]
impl TestRoot {
    pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root =
            std::env::temp_dir().join(format!("basalt-groups-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(root)
    }
}

#[cfg(test)]
impl Drop for TestRoot {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}
