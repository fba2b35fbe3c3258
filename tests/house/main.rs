//! House rules that a machine can check: dependencies, names, and tidiness.
//!
//! A rule that matters is a check that fails. The reasons are in docs/ARCHITECTURE.md.

mod glossary;
mod layers;
mod rings;
mod sources;
mod tidy;
mod ways;
