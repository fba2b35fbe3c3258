//! Memory: checks whether the system has memory for a large allocation.
//!
//! A failed allocation aborts the process. So code that builds something large for a request checks
//! first, and returns an error. Another shard may take the memory between the check and the
//! allocation: this makes an abort unlikely, not impossible.
//!
//! Not here: `maxmemory`, the limit of the data (`engine::gates`).

use std::hint::black_box;

/// LIMIT: smaller allocations are not checked, since they nearly always succeed.
const ASKED_BYTES_MIN: usize = 1 << 20;

/// Whether the system has a block of this many bytes now. The block is freed untouched, so even a
/// large one costs little.
pub fn is_granted(bytes: usize) -> bool {
    if bytes < ASKED_BYTES_MIN {
        return true;
    }
    let mut block: Vec<u8> = Vec::new();
    let is_granted = block.try_reserve_exact(bytes).is_ok();
    // Otherwise the compiler may remove an unused allocation, and assume its success.
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
