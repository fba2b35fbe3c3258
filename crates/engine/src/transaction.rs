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
//! explains why it is right. Not here: what commands mean (`commands`), how notifications travel
//! (`core/exchange.rs`).

pub(crate) mod coordinator;
pub(crate) mod plan;
pub(crate) mod slot_moves;
