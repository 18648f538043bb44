//! Figures: what the benchmarks measure, each with its unit and the value to reach. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

/// One measured figure; as JSON, one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Its name.
    pub figure: Cow<'static, str>,
    /// What was measured.
    pub value: f64,
    /// The unit.
    pub unit: &'static str,
    /// The value to keep to; none: no bound is set.
    pub reach: Option<Bound>,
}

/// A value to keep to. As JSON its number alone: which way it holds stands in the documentation of the figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Not to exceed it.
    AtMost(f64),
    /// Not to fall below it.
    AtLeast(f64),
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (Self::AtMost(value) | Self::AtLeast(value)) = self;
        serializer.serialize_f64(*value)
    }
}

impl Figure {
    /// A figure without a bound.
    pub fn new(figure: impl Into<Cow<'static, str>>, value: f64, unit: &'static str) -> Self {
        Self { figure: figure.into(), value: (value * 1000.0).round() / 1000.0, unit, reach: None }
    }

    /// The same, not to exceed a bound.
    pub fn at_most(self, reach: f64) -> Self {
        Self { reach: Some(Bound::AtMost(reach)), ..self }
    }

    /// The same, not to fall below a bound.
    pub fn at_least(self, reach: f64) -> Self {
        Self { reach: Some(Bound::AtLeast(reach)), ..self }
    }

    /// Whether it does not keep to its bound.
    pub fn missed(&self) -> bool {
        match self.reach {
            None => false,
            Some(Bound::AtMost(bound)) => self.value > bound,
            Some(Bound::AtLeast(bound)) => self.value < bound,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// The value below which a `share` (0 to 1) of the values lies; none of none.
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a short list"
    )]
    let at = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
    sorted.get(at).copied()
}

/// The middle value; none of none.
pub fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_one_line_of_json() {
        let figure = Figure::new("uki_bytes", 12.0, "bytes").at_most(45.0);
        assert_eq!(figure.to_string(), r#"{"figure":"uki_bytes","value":12.0,"unit":"bytes","reach":45.0}"#);
        assert_eq!(Figure::new("a", 1.23456, "s").to_string(), r#"{"figure":"a","value":1.235,"unit":"s","reach":null}"#);
    }

    #[test]
    fn a_bound_holds_its_own_way() {
        let figure = || Figure::new("a", 2.0, "ratio");
        for (figure, missed) in [
            (figure(), false),
            (figure().at_most(2.0), false),
            (figure().at_most(1.9), true),
            (figure().at_least(2.0), false),
            (figure().at_least(2.1), true),
        ] {
            assert_eq!(figure.missed(), missed, "{figure}");
        }
    }

    #[test]
    fn outliers_do_not_move_the_median() {
        assert_eq!(median(&[9.0, 1.0, 2.0, 1000.0, 3.0]), Some(3.0));
        assert_eq!(percentile(&[1.0, 2.0, 3.0], 0.99), Some(3.0));
        assert_eq!(median(&[]), None);
    }
}
