//! Transactions: commands over several keys, that others see as happening at one moment.
//!
//! ```text
//! declare keys ─► look (on the shard of each) ─► decide (at home) ─► write (on the shard of each)
//! ```
//!
//! [`Core::transact`] runs a command of that form; `docs/design/transactions.md` says how it is isolated.
//! Not here: what commands mean (`verbs`, `commands`), how hops travel (`core/exchange.rs`).

mod transact;

pub(crate) use transact::{Decision, DeclaredKey};
