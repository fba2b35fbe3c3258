//! Seeds: writes the corpora and dictionaries of the fuzz targets in the form that libFuzzer reads.

use basalt_testkit::fuzz::FUZZ_TARGETS;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// Writes `<folder>/<target>/seed-<number>` and `<folder>/<target>.dict` for every target.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    for target in FUZZ_TARGETS {
        let corpus = folder.join(target.name);
        fs::create_dir_all(&corpus)?;
        for (number, input) in (target.corpus)().iter().enumerate() {
            fs::write(corpus.join(format!("seed-{number}")), input)?;
        }
        let mut dictionary = String::new();
        for word in target.dictionary {
            let escaped: String = word.iter().map(|byte| format!("\\x{byte:02X}")).collect();
            writeln!(dictionary, "\"{escaped}\"").expect("a string takes all");
        }
        fs::write(folder.join(format!("{}.dict", target.name)), dictionary)?;
    }
    Ok(())
}
