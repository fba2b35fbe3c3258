//! The configuration file, written anew by CONFIG REWRITE.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use basalt_commands::config::{self, Config, Extent};

/// The mode of a file that wasn't there before.
const MODE: u32 = 0o644;

/// Brings the file up to date. Readers see the old file or the new one whole, also after a crash.
pub(crate) fn rewrite(path: Option<&Path>, config: &Config, extent: Extent) -> Result<(), String> {
    let path = path.ok_or("The server is running without a config file")?;
    replace(path, config, extent).map_err(|error| {
        tracing::warn!("CONFIG REWRITE failed: {}: {error}", path.display());
        format!("Rewriting config file: {error}")
    })
}

fn replace(path: &Path, config: &Config, extent: Extent) -> io::Result<()> {
    let (existing, mode) = match File::open(path) {
        Ok(file) => (fs::read(path)?, file.metadata()?.permissions().mode() & 0o7777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), MODE),
        Err(error) => return Err(error),
    };
    let text = config::rewrite(&existing, config, extent);
    // The name behind a link is the one to replace, or the link would be gone.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().unwrap_or(Path::new("/"));
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let written = write(&temporary, &text, mode).and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        // What failed is told; that its leftover could not be removed either adds nothing.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(directory)?.sync_all()
}

fn write(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// A directory that goes with the test.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("basalt-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_keeps_its_mode_its_comments_and_the_link_to_it() {
        let place = Place::new("rewrite");
        let (file, link) = (place.0.join("real.conf"), place.0.join("link.conf"));
        fs::write(&file, "# mine\nport 1\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&file, &link).unwrap();
        let config = Config { port: 7777, ..Config::default() };
        rewrite(Some(&link), &config, Extent::Changed).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# mine\nport 7777\n"), "{text}");
        assert_eq!(mode(&file), 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn a_file_that_is_gone_is_written_anew_and_one_that_cannot_be_is_told() {
        let place = Place::new("rewrite-anew");
        let file = place.0.join("new.conf");
        let config = Config { port: 7777, ..Config::default() };
        rewrite(Some(&file), &config, Extent::Changed).unwrap();
        assert!(fs::read_to_string(&file).unwrap().contains("port 7777"));
        assert_eq!(mode(&file), MODE);
        let words =
            rewrite(Some(&place.0.join("nowhere/x.conf")), &config, Extent::Changed).unwrap_err();
        assert!(words.starts_with("Rewriting config file: No such file or directory"), "{words}");
        let words = rewrite(None, &config, Extent::Changed).unwrap_err();
        assert_eq!(words, "The server is running without a config file");
    }
}
