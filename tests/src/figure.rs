//! Figures: what the benchmarks measure, each with its unit and the value to reach. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// One measured figure; printed, one line of JSON.
#[derive(Debug, Clone, PartialEq)]
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

/// A value to keep to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Not to exceed it.
    AtMost(f64),
    /// Not to fall below it.
    AtLeast(f64),
}

/// A figure as it is printed.
#[derive(Serialize)]
struct Line<'a> {
    figure: &'a str,
    value: f64,
    unit: &'a str,
    /// The bound's number; null: there is none.
    reach: Option<f64>,
    /// Which way it holds.
    bound: Option<&'static str>,
    /// Whether the value keeps to it.
    met: Option<bool>,
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
        let bound = self.reach.map(|reach| match reach {
            Bound::AtMost(value) => (value, "at-most"),
            Bound::AtLeast(value) => (value, "at-least"),
        });
        let line = Line {
            figure: &self.figure,
            value: self.value,
            unit: self.unit,
            reach: bound.map(|(value, _)| value),
            bound: bound.map(|(_, way)| way),
            met: bound.map(|_| !self.missed()),
        };
        f.write_str(&serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

/// The names of those that do not keep to their bounds, as an error; nothing when all do.
///
/// # Errors
/// When there are any.
pub fn all_met(missed: &[String]) -> anyhow::Result<()> {
    anyhow::ensure!(missed.is_empty(), "{} figures do not keep to their bounds: {}", missed.len(), missed.join(", "));
    Ok(())
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
        for (figure, expected) in [
            (
                Figure::new("uki_bytes", 12.0, "bytes").at_most(45.0),
                r#"{"figure":"uki_bytes","value":12.0,"unit":"bytes","reach":45.0,"bound":"at-most","met":true}"#,
            ),
            (
                Figure::new("a", 1.23456, "1/s").at_least(2.0),
                r#"{"figure":"a","value":1.235,"unit":"1/s","reach":2.0,"bound":"at-least","met":false}"#,
            ),
            (Figure::new("a", 1.0, "s"), r#"{"figure":"a","value":1.0,"unit":"s","reach":null,"bound":null,"met":null}"#),
        ] {
            assert_eq!(figure.to_string(), expected);
        }
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
    fn a_missed_bound_is_an_error_that_names_the_figure() {
        all_met(&[]).expect("all are met");
        let error = all_met(&["uki_bytes".into(), "pid1_rss_bytes".into()]).expect_err("missed").to_string();
        assert_eq!(error, "2 figures do not keep to their bounds: uki_bytes, pid1_rss_bytes");
    }

    #[test]
    fn outliers_do_not_move_the_median() {
        assert_eq!(median(&[9.0, 1.0, 2.0, 1000.0, 3.0]), Some(3.0));
        assert_eq!(percentile(&[1.0, 2.0, 3.0], 0.99), Some(3.0));
        assert_eq!(median(&[]), None);
    }
}
