//! The house rules that a machine can check: who may depend on whom, who may name what, and tidiness.
//!
//! A rule that matters is a check that fails. The reasons stand in docs/ARCHITECTURE.md.

mod layers;
mod sources;
mod tidy;
