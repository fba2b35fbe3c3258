//! The configuration file, written anew by CONFIG REWRITE.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use basalt_commands::config::{self, Config};

/// The mode of a file that wasn't there before.
const MODE: u32 = 0o644;

/// Brings the file up to date. Readers see the old file or the new one whole, also after a crash.
pub(crate) fn rewrite(path: Option<&Path>, config: &Config) -> Result<(), String> {
    let path = path.ok_or("The server is running without a config file")?;
    replace(path, config).map_err(|error| {
        tracing::warn!("CONFIG REWRITE failed: {}: {error}", path.display());
        format!("Rewriting config file: {error}")
    })
}

fn replace(path: &Path, config: &Config) -> io::Result<()> {
    let (existing, mode) = match File::open(path) {
        Ok(file) => (fs::read(path)?, file.metadata()?.permissions().mode() & 0o7777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), MODE),
        Err(error) => return Err(error),
    };
    let text = config::rewrite(&existing, config);
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
