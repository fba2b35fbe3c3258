//! OOM score: how likely the kernel is to kill this process where memory runs out (`oom-score-adj`).
//!
//! As in Redis (`server.c`, `setOOMScoreAdj`): the score of before is kept and comes back when the setting is turned
//! off. Of the three values only the first acts, since nothing forks and nothing is a replica.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

use basalt_commands::config::{Config, OomScoreAdj};

const PATH: &str = "/proc/self/oom_score_adj";
/// The kernel's bounds.
const SCORES: std::ops::RangeInclusive<i32> = -1000..=1000;
/// Nothing was changed yet, or it was changed back.
const UNCHANGED: i32 = i32::MIN;

/// The score of before.
static BASE: AtomicI32 = AtomicI32::new(UNCHANGED);

/// Whether two configurations differ in this.
pub(crate) fn differs(now: &Config, next: &Config) -> bool {
    (now.oom_score_adj, &now.oom_score_adj_values)
        != (next.oom_score_adj, &next.oom_score_adj_values)
}

/// Sets the score that a configuration asks for. What fails is logged, too.
pub(crate) fn apply(config: &Config) -> io::Result<()> {
    let applied = score(config.oom_score_adj, config.oom_score_adj_values.0[0]);
    applied.inspect_err(|error| tracing::warn!("{PATH} can't be set: {error}"))
}

fn score(mode: OomScoreAdj, value: i32) -> io::Result<()> {
    let base = BASE.load(Ordering::Relaxed);
    if mode == OomScoreAdj::No {
        if base != UNCHANGED {
            fs::write(PATH, base.to_string())?;
            BASE.store(UNCHANGED, Ordering::Relaxed);
        }
        return Ok(());
    }
    let base = match base {
        UNCHANGED => {
            let text = fs::read_to_string(PATH)?;
            text.trim().parse().map_err(|_| io::Error::other("it holds no number"))?
        }
        base => base,
    };
    let wanted = if mode == OomScoreAdj::Absolute { value } else { base + value };
    let wanted = wanted.clamp(*SCORES.start(), *SCORES.end());
    fs::write(PATH, wanted.to_string())?;
    BASE.store(base, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test, since there is one score.
    #[test]
    fn the_score_of_before_comes_back() {
        let now = || -> i32 { fs::read_to_string(PATH).unwrap().trim().parse().unwrap() };
        let before = now();
        // More likely to be killed is allowed to everyone.
        score(OomScoreAdj::Relative, 5).unwrap();
        assert_eq!(now(), (before + 5).min(1000));
        score(OomScoreAdj::Relative, 7).unwrap();
        assert_eq!(now(), (before + 7).min(1000));
        score(OomScoreAdj::Absolute, 1000).unwrap();
        assert_eq!(now(), 1000);
        score(OomScoreAdj::Relative, 2000).unwrap();
        assert_eq!(now(), 1000);
        if score(OomScoreAdj::No, 0).is_ok() {
            assert_eq!((now(), BASE.load(Ordering::Relaxed)), (before, UNCHANGED));
        }
    }
}
