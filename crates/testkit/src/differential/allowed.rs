//! Known differences between servers, as data: what differs, between whom, and why that is no fault of ours.
//!
//! A difference that is not listed here is a finding.

use crate::process::Program;
use basalt_resp::Value;

/// A difference that does not count.
pub struct Allowed {
    /// One of the two servers must be this one.
    pub program: Program,
    /// The command's name.
    pub command: &'static str,
    pub why: &'static str,
    /// Looks closer: request, the reply of `program`, the other reply.
    pub applies: fn(&[Vec<u8>], &Value, &Value) -> bool,
}

pub const ALLOWED: &[Allowed] = &[];

impl Allowed {
    pub fn covers(&self, request: &[Vec<u8>], of_program: &Value, other: &Value) -> bool {
        request.first().is_some_and(|name| name.eq_ignore_ascii_case(self.command.as_bytes()))
            && (self.applies)(request, of_program, other)
    }
}
