//! Prefetch: loads a cache line before it is needed.

/// Prefetches the first line of a value.
#[inline(always)]
pub fn prefetch_ref<T>(value: &T) {
    prefetch(std::ptr::from_ref(value).cast());
}

/// Prefetches the line at `address`. Any address is allowed: an invalid one costs a little and does
/// nothing.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing into the program and never faults.
    unsafe {
        core::arch::x86_64::_mm_prefetch(address.cast::<i8>(), core::arch::x86_64::_MM_HINT_T0);
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: a prefetch reads nothing into the program and never faults.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}
