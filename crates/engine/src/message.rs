//! Messages between cores.

/// What one core tells another. Opaque to those who carry it.
pub enum Message {}
