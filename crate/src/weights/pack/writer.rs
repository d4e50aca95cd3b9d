//! One tensor of a packed file, made as the bytes of the original arrive.

use super::recipe::{Form, Item};
use crate::error::{Error, Result};
use crate::quantization::{BLOCK, GROUP, Packed, Packer};
use crate::weights::convert::append_f32;
use crate::weights::safetensors::Dtype;
use crate::weights::single_file::turned;

/// Most bytes that [`Writer::take`] gives at once.
const PIECE_BYTES: usize = 1 << 20;

/// Takes the bytes of a tensor and gives those of its new form. What was pushed must be taken before more is pushed, or
/// it piles up.
pub(super) struct Writer {
    state: State,
}

enum State {
    /// The transpose, until all of it has come.
    Transposed {
        file: String,
        item: Item,
        bytes: Vec<u8>,
    },
    Same(Vec<u8>),
    Single {
        numbers: Numbers,
        bytes: Vec<u8>,
    },
    Packing(Box<Packing>),
    Packed {
        packed: Packed,
        taken: usize,
    },
}

impl Writer {
    /// `file` is the original's, for errors.
    pub(super) fn new(file: &str, item: &Item) -> Self {
        let numbers = Numbers { dtype: item.info.dtype.clone(), rest: Vec::new() };
        let state = match item.form {
            _ if item.is_transposed => {
                State::Transposed { file: file.to_owned(), item: item.clone(), bytes: Vec::new() }
            }
            Form::Same => State::Same(Vec::new()),
            Form::Single => State::Single { numbers, bytes: Vec::new() },
            Form::Packed { quant, layout, is_table } => State::Packing(Box::new(Packing {
                place: (file.to_owned(), item.name.clone()),
                numbers,
                packer: Packer::new(quant, layout),
                is_table,
                group: if is_table { layout.n * BLOCK } else { layout.channels * layout.taps * GROUP },
                values: Vec::new(),
            })),
        };
        Self { state }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Error::Config`] for numbers that cannot be packed because they are not finite.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.state {
            State::Same(all) | State::Transposed { bytes: all, .. } => all.extend_from_slice(bytes),
            State::Single { numbers, bytes: all } => {
                let mut values = Vec::new();
                numbers.append(bytes, &mut values);
                all.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            State::Packing(packing) => packing.push(bytes)?,
            State::Packed { .. } => {}
        }
        Ok(())
    }

    /// Says that all bytes have been pushed.
    ///
    /// # Errors
    /// Those of [`Self::push`].
    pub(super) fn finish(&mut self) -> Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Same(Vec::new())) {
            State::Packing(mut packing) => {
                packing.flush()?;
                State::Packed { packed: packing.packer.finish(), taken: 0 }
            }
            State::Transposed { file, item, bytes } => {
                let bytes = turned(&bytes, &item.info.shape, &item.info.dtype);
                let mut writer = Self::new(&file, &Item { is_transposed: false, ..item });
                writer.push(&bytes)?;
                writer.finish()?;
                writer.state
            }
            other => other,
        };
        Ok(())
    }

    /// The next bytes of the new form; `None` when none are ready.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let ready = match &mut self.state {
            State::Same(bytes) | State::Single { bytes, .. } => std::mem::take(bytes),
            State::Packing(_) | State::Transposed { .. } => Vec::new(),
            State::Packed { packed, taken } => next_piece(packed, taken),
        };
        (!ready.is_empty()).then_some(ready)
    }
}

/// The bytes of words and then of scales from `taken` on.
fn next_piece(packed: &Packed, taken: &mut usize) -> Vec<u8> {
    let words = 4 * packed.words.len();
    let mut piece = vec![0; PIECE_BYTES.min((words + 2 * packed.scales.len()).saturating_sub(*taken))];
    let in_words = piece.len().min(words.saturating_sub(*taken));
    let (of_words, of_scales) = piece.split_at_mut(in_words);
    let rest = packed.words.iter().skip(*taken / 4);
    of_words.as_chunks_mut().0.iter_mut().zip(rest).for_each(|(to, word)| *to = word.to_le_bytes());
    let rest = packed.scales.iter().skip((*taken + in_words - words.min(*taken + in_words)) / 2);
    of_scales.as_chunks_mut().0.iter_mut().zip(rest).for_each(|(to, scale)| *to = scale.to_le_bytes());
    *taken += piece.len();
    piece
}

/// Bytes to numbers; one that is cut waits for its other bytes.
struct Numbers {
    dtype: Dtype,
    rest: Vec<u8>,
}

impl Numbers {
    /// Bytes of a number.
    fn width(&self) -> usize {
        self.dtype.bytes().unwrap_or(1) as usize
    }

    fn append(&mut self, bytes: &[u8], values: &mut Vec<f32>) {
        let missing = (self.width() - self.rest.len()) % self.width();
        let (first, bytes) = bytes.split_at(missing.min(bytes.len()));
        self.rest.extend_from_slice(first);
        if self.rest.len() == self.width() {
            append_f32(&self.dtype, &self.rest, values);
            self.rest.clear();
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % self.width());
        append_f32(&self.dtype, whole, values);
        self.rest.extend_from_slice(rest);
    }
}

struct Packing {
    /// File and tensor.
    place: (String, String),
    numbers: Numbers,
    packer: Packer,
    is_table: bool,
    /// Numbers that are packed together.
    group: usize,
    values: Vec<f32>,
}

impl Packing {
    fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = (self.group - self.values.len()) * self.numbers.width() - self.numbers.rest.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.numbers.append(now, &mut self.values);
            if self.values.len() == self.group {
                self.flush()?;
            }
            bytes = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let largest = self.values.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff));
        if !f32::from_bits(largest).is_finite() {
            let (file, field) = self.place.clone();
            return Err(Error::Config {
                file,
                field,
                reason: "holds numbers that are not finite".to_owned(),
            });
        }
        if self.is_table {
            self.packer.push_rows(&self.values);
        } else {
            self.packer.push_columns(&self.values);
        }
        self.values.clear();
        Ok(())
    }
}
