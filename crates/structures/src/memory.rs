//! Memory: whether the system grants what a request is about to ask for.
//!
//! A failed allocation ends the process. So whoever is told by a request to build something large asks
//! here first, and refuses. Between the question and the allocation another shard may take the memory: this
//! makes the end unlikely, not impossible.
//!
//! Not here: `maxmemory`, which is about what the data may take (`engine::gates`).

use std::hint::black_box;

/// LIMIT: up to here nobody asks, since so little is nearly always there.
const ASKED_BYTES_MIN: usize = 1 << 20;

/// Whether the system grants a block of so many bytes now. The block is given back untouched, so large ones
/// cost little more than a look.
pub fn is_granted(bytes: usize) -> bool {
    if bytes < ASKED_BYTES_MIN {
        return true;
    }
    let mut block: Vec<u8> = Vec::new();
    let is_granted = block.try_reserve_exact(bytes).is_ok();
    // Else the compiler may leave out an allocation that is not used, and take it for granted.
    black_box(&mut block);
    is_granted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_is_is_granted() {
        assert!(
            is_granted(0) && is_granted(ASKED_BYTES_MIN - 1) && is_granted(2 * ASKED_BYTES_MIN)
        );
        assert!(!is_granted(1 << 62) && !is_granted(usize::MAX));
    }
}
