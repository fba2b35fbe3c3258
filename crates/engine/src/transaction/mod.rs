//! Transactions: commands over several keys, that others see as happening at one moment.
//!
//! ```text
//! home                    every shard concerned
//! schedule ─────────────► intents; look, as soon as they are granted
//! decided  ◄───────────── granted, with what was found      (inquire ◄──► give back, where two meet)
//! release  ─────────────► writes; intents go
//! ```
//!
//! [`Core::transact`](crate::core::Core::transact) runs a command of that form; `docs/design/transactions.md`
//! says why it is right. Not here: what commands mean (`verbs`, `commands`), how letters travel
//! (`core/exchange.rs`).

mod holding;
mod intents;
mod many;
#[cfg(test)]
mod model;
mod number;
mod transact;
mod wait;

pub(crate) use holding::Holding;
#[cfg(debug_assertions)]
pub use intents::break_isolation;
pub(crate) use intents::{Event, Intent, Intents, Mode, Scope};
pub(crate) use number::{Number, Numbers};
pub(crate) use transact::{Decision, DeclaredKey, scope_on};
pub(crate) use wait::{Memory, Terms};
