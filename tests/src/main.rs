//! The tests of the whole server over its sockets, one named trial each.
//!
//! ```text
//! cargo run -p basalt-tests -- transcript::        the transcripts on every target
//! cargo run -p basalt-tests -- --list              all names
//! cargo run -p basalt-tests -- record redis7 NAME  write what this oracle answers into tests/transcripts
//! cargo run -p basalt-tests -- seeds FOLDER        write the fuzz corpora, a folder for each target
//! ```
//!
//! The server under test is `$BASALT_SERVER`, or the one beside this program. Trials whose oracle
//! this machine lacks are "ignored", never "passed".

#![expect(clippy::unwrap_used, reason = "all of this is tests: what fails here is a failed test")]

mod differential;
mod pool;
mod process;
mod seeds;
mod tools;
mod transcripts;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, oracle, names @ ..] = &words[..]
        && word == "record"
    {
        let outcome = transcripts::record_from(oracle, names);
        pool::shut_down();
        outcome.expect("because a person asked for it and sees why not");
        return ExitCode::SUCCESS;
    }
    if let [word, folder] = &words[..]
        && word == "seeds"
    {
        seeds::write(folder.as_ref()).expect("because a person asked for it and sees why not");
        return ExitCode::SUCCESS;
    }
    let arguments = libtest_mimic::Arguments::from_args();
    let families =
        [transcripts::trials(), differential::trials(), process::trials(), tools::trials()];
    let trials = families.into_iter().flatten().collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    pool::shut_down();
    conclusion.exit_code()
}
