//! Seeds: what libFuzzer begins with, written as it reads it.

use basalt_testkit::doors::DOORS;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// Writes `<folder>/<door>/seed-<number>` and `<folder>/<door>.dict` for every door.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    for door in DOORS {
        let corpus = folder.join(door.name);
        fs::create_dir_all(&corpus)?;
        for (number, input) in (door.corpus)().iter().enumerate() {
            fs::write(corpus.join(format!("seed-{number}")), input)?;
        }
        let mut dictionary = String::new();
        for word in door.dictionary {
            let escaped: String = word.iter().map(|byte| format!("\\x{byte:02X}")).collect();
            writeln!(dictionary, "\"{escaped}\"").expect("a string takes all");
        }
        fs::write(folder.join(format!("{}.dict", door.name)), dictionary)?;
    }
    Ok(())
}
