//! The grid: axes of values, their combinations, and how both are written.

use std::{fmt, str::FromStr};

use toml::{Table, Value};

/// A recipe key and the values that are tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The dotted key.
    pub key: String,
    /// Values that are tried.
    pub values: Vec<Value>,
}

/// An end of an axis of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    Smallest,
    Largest,
}

impl Axis {
    /// The paper's grid for ρ.
    pub fn paper_rho() -> Self {
        Self::numbers("method.gnr.rho", &[0.05, 0.1, 0.2, 0.5, 1.0, 2.0])
    }

    /// The paper's grid for α.
    pub fn paper_alpha() -> Self {
        let values = [0.1, 0.2, 0.5].into_iter().chain((1..=10).map(f64::from));
        Self::numbers("method.gnr.alpha", &values.collect::<Vec<_>>())
    }

    /// An axis of numbers.
    pub fn numbers(key: &str, values: &[f64]) -> Self {
        Self { key: key.into(), values: values.iter().map(|&value| Value::Float(value)).collect() }
    }

    /// A value as it is shown: without a string's quotes, whole numbers without a point.
    pub fn label(&self, index: usize) -> String {
        match &self.values[index] {
            Value::String(text) => text.clone(),
            Value::Float(number) => number.to_string(),
            other => other.to_string(),
        }
    }

    /// The end of the axis at or beyond which a number lies: a wider axis may then have a better value. `None` within
    /// the axis. Zero is a bound by itself, and of one or two values each is an end, so that these give `None`, too.
    pub(crate) fn edge(&self, value: f64) -> Option<Edge> {
        let number = |value: &Value| value.as_float().or_else(|| Some(value.as_integer()? as f64));
        let values: Vec<f64> = self.values.iter().filter_map(number).collect();
        if value == 0.0 || values.len() < 3 {
            return None;
        }
        if values.iter().all(|other| value <= *other) {
            return Some(Edge::Smallest);
        }
        values.iter().all(|other| *other <= value).then_some(Edge::Largest)
    }

    /// The last word of the key.
    pub fn short(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or(&self.key)
    }
}

/// Parses `method.gnr.rho=0.05,0.1,0.2`, with values in TOML syntax or as bare strings.
impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, values) = text
            .split_once('=')
            .map(|(key, values)| (key.trim(), values.trim()))
            .filter(|(key, values)| !key.is_empty() && !values.is_empty())
            .ok_or_else(|| format!("{text:?}: expected section.key=VALUE,VALUE,..."))?;
        let list = |text: &str| match format!("v = [{text}]").parse::<Table>().ok()?.remove("v")? {
            Value::Array(values) => Some(values),
            _ => None,
        };
        let bare = || values.split(',').map(|value| Value::String(value.trim().to_owned())).collect();
        let values: Vec<Value> = list(values).unwrap_or_else(bare);
        for (i, value) in values.iter().enumerate() {
            if values[..i].contains(value) {
                return Err(format!("{text:?}: {value} is given twice"));
            }
        }
        if values.is_empty() {
            return Err(format!("{text:?}: no values"));
        }
        Ok(Self { key: key.to_owned(), values })
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<String> = (0..self.values.len()).map(|i| self.label(i)).collect();
        write!(f, "{}: {}", self.key, labels.join(", "))
    }
}

/// Every combination, as positions on the axes; the last axis moves fastest.
pub(crate) fn points(axes: &[Axis]) -> Vec<Vec<usize>> {
    axes.iter().fold(vec![vec![]], |points, axis| {
        points
            .iter()
            .flat_map(|point| (0..axis.values.len()).map(|i| [point.as_slice(), &[i]].concat()))
            .collect()
    })
}

/// The assignments `section.key=value` of a combination.
pub(crate) fn assignments(axes: &[Axis], point: &[usize]) -> Vec<String> {
    axes.iter().zip(point).map(|(axis, &i)| format!("{}={}", axis.key, axis.values[i])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_grids() {
        assert_eq!(Axis::paper_rho().to_string(), "method.gnr.rho: 0.05, 0.1, 0.2, 0.5, 1, 2");
        let alpha = Axis::paper_alpha();
        assert_eq!((alpha.values.len(), alpha.label(2), alpha.label(12)), (13, "0.5".into(), "10".into()));
    }

    #[test]
    fn values_are_toml_or_bare_words() {
        let axis = |text: &str| text.parse::<Axis>();
        assert_eq!(
            axis("method.sam=true,false").unwrap().values,
            [Value::Boolean(true), Value::Boolean(false)]
        );
        let words = axis("method.gnr.hvp=exact,forward-difference").unwrap();
        assert_eq!((words.label(1).as_str(), words.short()), ("forward-difference", "hvp"));
        assert_eq!(axis("model.widths=[2],[2, 3]").unwrap().values.len(), 2);
        for wrong in ["rho", "=1", "rho=", "rho=1,1"] {
            assert!(axis(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn edges_are_ends_of_axes_of_numbers() {
        let edge = |axis: &str, value| axis.parse::<Axis>().unwrap().edge(value);
        assert_eq!(edge("a=0.3,0.1,3,1", 0.1), Some(Edge::Smallest));
        assert_eq!(edge("a=0.3,0.1,3,1", 3.0), Some(Edge::Largest));
        assert_eq!(edge("a=0.3,0.1,3,1", 0.05), Some(Edge::Smallest));
        assert_eq!(edge("a=0.3,0.1,3,1", 4.0), Some(Edge::Largest));
        for (axis, value) in [
            ("a=0.3,0.1,3,1", 1.0),
            ("a=0.3,0.1,3,1", 2.0),
            ("a=0.0,0.1,0.2", 0.0),
            ("a=1,2", 2.0),
            ("a=x,y,z", 1.0),
        ] {
            assert_eq!(edge(axis, value), None, "{axis} {value}");
        }
    }

    #[test]
    fn every_combination_once() {
        let axes = ["a=1,2".parse().unwrap(), "b=x,y,z".parse().unwrap()];
        let all: Vec<String> = points(&axes).iter().map(|p| assignments(&axes, p).join(" ")).collect();
        assert_eq!(all.len(), 6);
        assert_eq!((all[0].as_str(), all[5].as_str()), ("a=1 b=\"x\"", "a=2 b=\"z\""));
    }
}
