//! `math.random`: the generator of drand48, as Redis has it. It goes on from script to script, from a seed of
//! the shard's, so that two shards don't draw the same.

use super::add;
use super::arguments::{bad, integer};
use crate::lua::{Raise, Returned, Stack};

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 11;
const MASK: u64 = (1 << 48) - 1;

#[derive(Default)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: i32) -> Self {
        Self((u64::from(seed.cast_unsigned()) << 16) | 0x330E)
    }

    /// At least 0 and less than 1.
    fn next(&mut self) -> f64 {
        const MAX: u64 = i32::MAX as u64;
        self.0 = (self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT)) & MASK;
        ((self.0 >> 17) % MAX) as f64 / MAX as f64
    }
}

pub(super) fn install(stack: &mut Stack<'_>, library: i32) -> Result<(), Raise> {
    add(stack, library, &[("random", random), ("randomseed", seed)])
}

fn random(stack: &mut Stack<'_>) -> Returned {
    let value = stack.settings().random.next();
    let result = match stack.arg_count() {
        0 => value,
        1 => {
            let high = integer(stack, 1)?;
            if high < 1 {
                return Err(bad(1, "interval is empty"));
            }
            (value * high as f64).floor() + 1.0
        }
        2 => {
            let (low, high) = (integer(stack, 1)?, integer(stack, 2)?);
            if low > high {
                return Err(bad(2, "interval is empty"));
            }
            (value * (high as f64 - low as f64 + 1.0)).floor() + low as f64
        }
        _ => return Err(Raise::text("wrong number of arguments")),
    };
    stack.push_number(result)?;
    Ok(1)
}

fn seed(stack: &mut Stack<'_>) -> Returned {
    let seed = integer(stack, 1)? as i32;
    stack.settings().random = Random::seeded(seed);
    Ok(0)
}
