//! Bits: counts the set bits of a byte string, as fast as the processor can.

/// Shorter strings are counted without a check of the processor's features.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const WIDE_BYTES_MIN: usize = 128;

/// Returns the number of set bits.
pub fn count_ones(bytes: &[u8]) -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if bytes.len() >= WIDE_BYTES_MIN {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq") {
            // SAFETY: the processor has just said that it knows these instructions.
            return unsafe { count_with_avx512(bytes) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
            // SAFETY: the processor has just said that it knows these instructions.
            return unsafe { count_with_avx2(bytes) };
        }
    }
    count(bytes)
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn count_with_avx512(bytes: &[u8]) -> u64 {
    count(bytes)
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2,popcnt")]
fn count_with_avx2(bytes: &[u8]) -> u64 {
    count(bytes)
}

/// A plain loop that the compiler vectorizes for the target features of its caller.
#[inline(always)]
fn count(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let ones = |word: &[u8; 8]| u64::from(u64::from_le_bytes(*word).count_ones());
    let (blocks, words) = words.as_chunks::<32>();
    let mut sums = [0; 32];
    for block in blocks {
        for (sum, word) in sums.iter_mut().zip(block) {
            *sum += ones(word);
        }
    }
    let in_blocks: u64 = sums.iter().sum();
    let in_words: u64 = words.iter().map(ones).sum();
    let in_rest: u32 = rest.iter().map(|byte| byte.count_ones()).sum();
    in_blocks + in_words + u64::from(in_rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_alignment_is_counted() {
        let mut state = 7_u64;
        let bytes: Vec<u8> = (0..2000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        for from in [0, 1, 3, 8, 63] {
            for len in (0..700).step_by(if cfg!(miri) { 37 } else { 1 }).chain([1000, 1900]) {
                let part = &bytes[from..from + len];
                let plain: u32 = part.iter().map(|byte| byte.count_ones()).sum();
                assert_eq!(count_ones(part), u64::from(plain), "{from} {len}");
            }
        }
        assert_eq!(count_ones(&[0xFF; 4096]), 8 * 4096);
    }
}
