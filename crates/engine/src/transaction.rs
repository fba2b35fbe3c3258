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
//! says why it is right. Not here: what commands mean (`commands`), how letters travel
//! (`core/exchange.rs`).

pub(crate) mod coordinator;
mod many;
pub(crate) mod plan;
pub(crate) mod slot_moves;
mod transact;
mod wait;

pub(crate) use crate::input::keys::{DeclaredKey, scope_on};
pub(crate) use transact::Decision;
pub(crate) use wait::{Memory, Terms};
