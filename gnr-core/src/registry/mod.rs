//! Descriptions of methods: name, equation, settings, cost, reference. Listings, recipes and reports read these
//! entries.
//!
//! Each kind of method ([`optimizer`](crate::optimizer), [`schedule`](crate::schedule)) has a list of its own, made by
//! a macro from one line a method, and a function that builds a method from [`Values`]. This module knows no kind: a
//! method implements [`Registered`] beside its algorithm. Readers of settings (a recipe, a command line) check them
//! with [`Entry::values`].
//!
//! ```
//! use gnr_core::{Optimizer, optimizer, registry};
//! let entry = registry::find(optimizer::entries(), "adamw").expect("registered");
//! let values = entry.values([("eps", 1e-6.into())])?;
//! let mut adamw = optimizer::build::<Vec<f64>>(&values)?;
//! let mut theta = vec![1.0];
//! adamw.step(&mut theta, &vec![2.0], entry.number("lr").unwrap_or(0.1))?;
//! assert!(theta[0] < 1.0);
//! # Ok::<(), gnr_core::Error>(())
//! ```

mod key;
mod value;
mod values;

pub use key::{Key, Unset};
pub use value::{Domain, Interval, Value};
pub use values::Values;

use crate::{Error, Result};

/// A method's description of itself.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name in recipes and on the command line, in lower case (`adamw`).
    pub name: &'static str,
    /// The name in reports (`AdamW`).
    pub title: &'static str,
    /// The effect of the method and when to take it, in a sentence or two.
    pub doc: &'static str,
    /// The update rule in one line of Unicode mathematics.
    pub equation: &'static str,
    /// The method's settings, in the order of listings.
    pub keys: &'static [Key],
    /// The cost of a step beyond the gradient at θ, with the default settings.
    pub cost: Cost,
    /// The publication: authors, title, venue.
    pub reference: &'static str,
    /// Fills settings whose defaults depend on others, and refuses settings that do not go together. `None`: no setting
    /// depends on another.
    pub resolve: Option<fn(&mut Values) -> Result<()>>,
}

/// The needs of a method beyond the gradient at θ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Gradients of the batch a step. A gradient of a part of the batch counts as its share.
    pub gradients: f64,
    /// Hessian-vector products of the batch, a step.
    pub products: f64,
    /// Forward passes of the batch without a gradient, a step.
    pub forwards: f64,
    /// Vectors of the size of θ that are kept from step to step.
    pub vectors: u32,
    /// Whether outputs of every example of the data set are kept.
    pub outputs: bool,
}

impl Cost {
    /// The cost of a method that keeps so many vectors and needs no gradient or product.
    pub const fn state(vectors: u32) -> Self {
        Self { gradients: 0.0, products: 0.0, forwards: 0.0, vectors, outputs: false }
    }
}

/// A method that describes itself.
pub trait Registered {
    /// The description of the method.
    const ENTRY: &'static Entry;
}

/// A method that can be made from its settings alone.
pub trait Configured: Registered + Sized {
    /// Makes the method with these settings, which belong to its entry.
    ///
    /// # Errors
    /// [`Error::Setting`] and [`Error::InvalidHyperparameter`] for settings that the method does not take.
    fn configured(values: &Values) -> Result<Self>;

    /// Makes the method with the settings given, and the defaults of the others.
    ///
    /// # Errors
    /// The errors of [`Entry::values`] and [`configured`](Self::configured).
    fn with<'k>(given: impl IntoIterator<Item = (&'k str, Value)>) -> Result<Self> {
        Self::configured(&Self::ENTRY.values(given)?)
    }
}

impl Entry {
    /// The key called `name`, if the method has it.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The default of a key for a number; `None` for any other key.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.key(name)?.unset {
            Unset::Value(Value::Number(default)) => Some(default),
            _ => None,
        }
    }

    /// Checks the settings given and adds the defaults of the others.
    ///
    /// # Errors
    /// [`Error::Setting`] for a key that the method does not have, a value outside its domain, a key without default
    /// that is missing, and settings that do not go together.
    pub fn values<'k>(&self, given: impl IntoIterator<Item = (&'k str, Value)>) -> Result<Values> {
        let mut values = Values::empty(self);
        given.into_iter().try_for_each(|(name, value)| values.set(name, value))?;
        values.fill()?;
        if let Some(resolve) = self.resolve {
            resolve(&mut values)?;
        }
        Ok(values)
    }
}

/// The entry called `name`, if there is one.
pub fn find(entries: &[&'static Entry], name: &str) -> Option<&'static Entry> {
    entries.iter().find(|entry| entry.name == name).copied()
}

/// The error of a name that no entry has; lists the names of the `kind`.
pub(crate) fn unknown(kind: &'static str, entries: &[&Entry], name: &str) -> Error {
    let known: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    let requirement = format!("expected one of {}", known.join(", "));
    Error::Setting { method: kind, key: "name".into(), found: format!("{name:?}"), requirement }
}
