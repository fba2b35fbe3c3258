//! Statistics of few rounds: median and spread.

use std::fmt;

/// A middle value of some measurements, with the smallest and the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) middle: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The median; there must be at least one measurement.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let half = values.len() / 2;
        let middle = match values.len() % 2 {
            0 => f64::midpoint(values[half - 1], values[half]),
            _ => values[half],
        };
        Spread { middle, min: values[0], max: values[values.len() - 1] }
    }

    /// The mean; there must be at least one measurement.
    pub(crate) fn of_mean(values: &[f64]) -> Spread {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Spread { middle: mean, ..Spread::of(values.iter().copied()) }
    }

    /// The maximum; there must be at least one measurement.
    pub(crate) fn of_worst(values: &[f64]) -> Spread {
        let spread = Spread::of(values.iter().copied());
        Spread { middle: spread.max, ..spread }
    }

    /// The ratios round by round, so that a disturbance of a whole round cancels out.
    pub(crate) fn of_ratios(values: &[f64], bases: &[f64]) -> Spread {
        Spread::of(values.iter().zip(bases).map(|(value, base)| value / base))
    }

    /// With this many decimals; a single measurement has no range.
    pub(crate) fn text(&self, decimals: usize) -> String {
        let Spread { middle, min, max } = *self;
        if min == max {
            return format!("{middle:.decimals$}");
        }
        format!("{middle:.decimals$} ({min:.decimals$}–{max:.decimals$})")
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_the_median_the_mean_or_the_worst() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { middle: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).middle, 2.5);
        assert_eq!(Spread::of_worst(&[1.0, 6.0]), Spread { middle: 6.0, min: 1.0, max: 6.0 });
        assert_eq!(Spread::of_mean(&[1.0, 2.0, 6.0]), Spread { middle: 3.0, min: 1.0, max: 6.0 });
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let ratios = Spread::of_ratios(&[1.0, 20.0, 3.0], &[2.0, 40.0, 4.0]);
        assert_eq!(ratios.to_string(), "0.50 (0.50–0.75)");
        assert_eq!(Spread::of([47.25]).text(1), "47.2");
    }
}
