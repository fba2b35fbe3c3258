//! The configuration through its public door: the table, CONFIG GET and SET, files, REWRITE, random
//! text.

mod file;
mod get_set;
mod random;
mod table;

use basalt_commands::config::{Config, ConfigErrors, Warning};

fn load(text: &str) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    let mut no_include = |pattern: &str| Err(format!("{pattern} is not there"));
    Config::parse_file(text.as_bytes(), "a.conf", &mut no_include)
}

fn loaded(text: &str) -> Config {
    load(text).unwrap_or_else(|error| panic!("{error}")).0
}

/// CONFIG SET by a client of another machine.
fn set(config: &Config, pairs: &[(&str, &str)]) -> Result<Config, String> {
    let pairs: Vec<(&[u8], &[u8])> =
        pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    config.set(&pairs, false).map_err(|error| error.to_string().replacen("ERR ", "", 1))
}

/// CONFIG GET of one name.
fn get(config: &Config, name: &str) -> String {
    let found = config.get(&[name.as_bytes()]);
    let [(_, value)] = found.as_slice() else { panic!("{name} is {} parameters", found.len()) };
    String::from_utf8_lossy(value).into()
}
