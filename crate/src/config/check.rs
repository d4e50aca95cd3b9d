//! Checks that the configurations share. The bounds are far above every published model; they keep a hostile
//! file from asking for memory that nobody has.

use std::fmt::Debug;

use super::OneOrMany;
use crate::error::{Error, Result};

pub(super) const MAX_CHANNELS: usize = 8192;
pub(super) const MAX_STAGES: usize = 8;
pub(super) const MAX_LAYERS: usize = 64;
/// Of a wider head no tile fits in the workgroup memory that every adapter has.
const MAX_HEAD_CHANNELS: usize = 1024;

/// The checks of one file.
pub(super) struct Check<'a> {
    pub(super) file: &'a str,
}

impl Check<'_> {
    pub(super) fn fail<T>(&self, field: &str, reason: impl Into<String>) -> Result<T> {
        Err(Error::Config { file: self.file.to_owned(), field: field.to_owned(), reason: reason.into() })
    }

    /// Refuses a value other than the one that is implemented.
    pub(super) fn must_be<T: PartialEq + Debug>(
        &self,
        field: &str,
        value: &T,
        implemented: &T,
    ) -> Result<()> {
        if value == implemented {
            return Ok(());
        }
        self.fail(field, format!("is {value:?}; Easel runs {implemented:?} only"))
    }

    /// Refuses a switch that is set.
    pub(super) fn absent<T: Debug>(&self, field: &str, value: Option<&T>) -> Result<()> {
        match value {
            None => Ok(()),
            Some(value) => self.fail(field, format!("is {value:?}; Easel does not run that, only null")),
        }
    }

    pub(super) fn between(&self, field: &str, value: usize, least: usize, most: usize) -> Result<()> {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        self.fail(field, format!("is {value}, outside of {least} to {most}"))
    }

    pub(super) fn positive(&self, field: &str, value: f64) -> Result<()> {
        if value.is_finite() && value > 0.0 {
            return Ok(());
        }
        self.fail(field, format!("is {value}; it must be a number above 0"))
    }

    pub(super) fn divides(&self, field: &str, value: usize, channels: usize) -> Result<()> {
        if value > 0 && channels.is_multiple_of(value) {
            return Ok(());
        }
        self.fail(field, format!("is {value}, which does not divide {channels} channels"))
    }

    /// So many heads of an attention share `channels`.
    pub(super) fn heads(&self, field: &str, heads: usize, channels: usize) -> Result<()> {
        self.divides(field, heads, channels)?;
        let width = channels / heads;
        if width <= MAX_HEAD_CHANNELS {
            return Ok(());
        }
        self.fail(
            field,
            format!("leads to a head of {width} channels; Easel runs {MAX_HEAD_CHANNELS} at most"),
        )
    }

    /// Every class of a list is one of `known`, and the list has the right length.
    pub(super) fn classes(&self, field: &str, found: &[String], known: &[&str], stages: usize) -> Result<()> {
        if let Some(class) = found.iter().find(|class| !known.contains(&class.as_str())) {
            return Err(self.unsupported(class, known));
        }
        self.list(field, found.len(), stages)
    }

    pub(super) fn class(&self, found: Option<&String>, known: &str) -> Result<()> {
        match found {
            Some(class) if class != known => Err(self.unsupported(class, &[known])),
            _ => Ok(()),
        }
    }

    pub(super) fn unsupported(&self, class: &str, known: &[&str]) -> Error {
        let supported = known.join(", ");
        Error::UnsupportedClass { file: self.file.to_owned(), class: class.to_owned(), supported }
    }

    /// A list has an entry for each stage.
    pub(super) fn list(&self, field: &str, length: usize, stages: usize) -> Result<()> {
        if length == stages {
            return Ok(());
        }
        self.fail(field, format!("has {length} entries for {stages} stages"))
    }

    /// One value or one for each stage, all inside the bounds.
    pub(super) fn each(
        &self,
        field: &str,
        values: &OneOrMany<usize>,
        stages: usize,
        (least, most): (usize, usize),
    ) -> Result<()> {
        if let Some(length) = values.stages() {
            self.list(field, length, stages)?;
        }
        values.values().iter().try_for_each(|&value| self.between(field, value, least, most))
    }

    /// The widths of the stages.
    pub(super) fn channels(&self, field: &str, channels: &[usize]) -> Result<()> {
        if channels.is_empty() || channels.len() > MAX_STAGES {
            return self.fail(field, format!("has {} entries, outside of 1 to {MAX_STAGES}", channels.len()));
        }
        channels.iter().try_for_each(|&channels| self.between(field, channels, 1, MAX_CHANNELS))
    }
}
