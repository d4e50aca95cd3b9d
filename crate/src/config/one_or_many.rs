//! A field that holds one value for all stages or a list with one for each.

use serde::Deserialize;

/// One value for all stages, or one for each.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// The same everywhere.
    One(T),
    /// By stage, from the input to the middle.
    Many(Vec<T>),
}

impl<T: Copy + Default> OneOrMany<T> {
    /// The value of a stage; the default of `T` past the end of a list (validation rules that out).
    #[must_use]
    pub fn at(&self, stage: usize) -> T {
        match self {
            Self::One(value) => *value,
            Self::Many(values) => values.get(stage).copied().unwrap_or_default(),
        }
    }

    /// All values: one, or those of the list.
    #[must_use]
    pub fn values(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    /// Length of the list, if it is one.
    #[must_use]
    pub fn stages(&self) -> Option<usize> {
        match self {
            Self::One(_) => None,
            Self::Many(values) => Some(values.len()),
        }
    }
}
