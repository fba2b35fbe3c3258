//! Test tools: clients, servers under test, the simulator, the differential driver, transcripts.
//!
//! Nothing here is part of the program: this crate is used by tests, fuzzers and benches only.

pub mod client;
pub mod differential;
pub mod fuzz;
pub mod history;
pub mod print;
pub mod process;
pub mod random;
pub mod simulation;
pub mod simulation_peer;
pub mod simulation_target;
pub mod socket_target;
pub mod transcript;
pub mod wildcard;
