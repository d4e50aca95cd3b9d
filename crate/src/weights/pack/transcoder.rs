//! One file of weights, packed as its bytes arrive.

use super::check;
use super::recipe::{Item, Recipe, Step};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::quantization::Policy;
use crate::weights::packed::packed_tensors;
use crate::weights::safetensors::{self, Header};
use crate::weights::single_file::{METADATA_KEY, Packable, Renamed};

/// Where a [`Transcoder`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Byte of the original to push first.
    pub source: u64,
    /// Byte of the packed file that is taken first.
    pub output: u64,
}

/// Packs one safetensors file: takes its bytes in order and gives those of the packed file in order. It holds one tensor
/// in its packed form and a few rows of the original, and a matrix that a checkpoint has transposed as a whole.
///
/// The tensors are those of [`pack_part`](super::pack_part). The size of the packed file is known at once.
pub struct Transcoder {
    file: String,
    recipe: Recipe,
    header: Option<Vec<u8>>,
    /// Tensor that is being written, or next.
    next: usize,
    writer: Option<Writer>,
    /// Byte of the original that comes next.
    at: u64,
    /// What that was when the tensor became the next one.
    opened: u64,
}

impl Transcoder {
    /// Of the file `file` of `size` bytes that begins with `header` (length field and JSON) and holds weights of the part
    /// `part`. `None` when there is nothing to pack, such as in a file that is packed already.
    ///
    /// # Errors
    /// [`Error::Safetensors`] for a damaged header; [`Error::UnsupportedDtype`]; [`Error::Config`] for names that packing
    /// would give twice.
    pub fn of_part(
        file: &str,
        header: &[u8],
        size: u64,
        part: &str,
        policy: &Policy,
    ) -> Result<Option<Self>> {
        let Some(parsed) = unpacked(file, header, size)? else { return Ok(None) };
        let items = parsed.tensors.iter().map(|(name, info)| Item::new(policy, part, name, info)).collect();
        Self::new(file, items, None)
    }

    /// Of a single-file checkpoint. The packed file has the tensors of all parts as `PART/NAME`, and the configs in its
    /// metadata; [`SingleFileSource`](crate::weights::single_file::SingleFileSource) shows it as it shows the original.
    ///
    /// # Errors
    /// Those of [`Self::of_part`], and of opening a checkpoint.
    pub fn of_checkpoint(file: &str, header: &[u8], size: u64, policy: &Policy) -> Result<Option<Self>> {
        let Some(parsed) = unpacked(file, header, size)? else { return Ok(None) };
        if parsed.metadata.contains_key(METADATA_KEY) {
            return Ok(None);
        }
        let Packable { tensors, contents } = Packable::new(file, &parsed)?;
        let item = |(part, tensor): &(&str, Renamed)| Item {
            name: format!("{part}/{}", tensor.name()),
            is_transposed: tensor.is_transposed(),
            ..Item::new(policy, part, tensor.name(), &tensor.info())
        };
        Self::new(file, tensors.iter().map(item).collect(), Some((METADATA_KEY, contents)))
    }

    fn new(file: &str, mut items: Vec<Item>, entry: Option<(&str, String)>) -> Result<Option<Self>> {
        items.sort_by_key(|item| (item.info.range.start, item.info.range.end));
        check(file, &items)?;
        if items.iter().all(|item| item.scale().is_none()) {
            return Ok(None);
        }
        let recipe = Recipe::new(items, entry);
        let mut transcoder =
            Self { file: file.to_owned(), recipe, header: None, next: 0, writer: None, at: 0, opened: 0 };
        transcoder.begin(0, None)?;
        Ok(Some(transcoder))
    }

    /// Bytes of the packed file.
    #[must_use]
    pub fn output_size(&self) -> u64 {
        self.recipe.size()
    }

    /// Starts anew, as near before byte `output` of the packed file as it can. `source` is what [`Self::opened`] said when
    /// byte `output` was about to be taken, for those who need the bytes of the original from there on without a gap.
    ///
    /// # Errors
    /// [`Error::Config`] for a `source` that is of other bytes.
    pub fn begin(&mut self, output: u64, source: Option<u64>) -> Result<Start> {
        (self.writer, self.header) = (None, None);
        let steps = &self.recipe.steps;
        let in_header = output < self.recipe.header.len() as u64;
        self.next = match source {
            Some(source) => steps.partition_point(|step| step.item.info.range.start < source),
            None if in_header => 0,
            None => steps.partition_point(|step| step.output.end <= output),
        };
        let first = steps.get(self.next);
        let start = first.map(|step| step.item.info.range.start);
        self.at = source.or(start).unwrap_or_else(|| self.end());
        let mut begins = first.map_or(self.recipe.size(), |step| step.output.start);
        if in_header {
            self.header = Some(self.recipe.header.clone());
            begins = 0;
        }
        if begins > output || (in_header && self.next > 0) {
            let reason = format!("{} does not lead to byte {output}", self.at);
            return Err(Error::Config { file: self.file.clone(), field: "source".to_owned(), reason });
        }
        self.open()?;
        Ok(Start { source: self.at, output: begins })
    }

    /// Takes the next bytes of the original and tells how many of them: it stops at the end of a tensor, whose new form
    /// must then be taken before more is pushed. Tensors that are of no use are passed over.
    ///
    /// # Errors
    /// [`Error::Config`] for numbers that are not finite.
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(Step { item, .. }) = self.recipe.steps.get(self.next) else { return Ok(bytes.len()) };
        let before = self.at < item.info.range.start;
        let until = if before { item.info.range.start } else { item.info.range.end };
        let wanted = usize::try_from(until - self.at).unwrap_or(usize::MAX);
        let bytes = bytes.get(..wanted).unwrap_or(bytes);
        if let Some(writer) = self.writer.as_mut().filter(|_| !before) {
            writer.push(bytes)?;
        }
        self.at += bytes.len() as u64;
        self.close()?;
        Ok(bytes.len())
    }

    /// The next bytes of the packed file, at most 1 MiB or what was pushed; `None` when more must be pushed first, or all
    /// has been taken.
    ///
    /// # Errors
    /// Those of [`Self::push`].
    pub fn take(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some(header) = self.header.take() {
            return Ok(Some(header));
        }
        loop {
            let Some(writer) = &mut self.writer else { return Ok(None) };
            if let Some(bytes) = writer.take() {
                return Ok(Some(bytes));
            }
            if self.at < self.end() {
                return Ok(None);
            }
            self.next += 1;
            self.open()?;
        }
    }

    /// Byte of the original from which on it has to be pushed to get what is taken next, and nothing of what lies before
    /// it.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Where the next tensor ends in the original; the last one's end when there is none.
    fn end(&self) -> u64 {
        let step = self.recipe.steps.get(self.next).or(self.recipe.steps.last());
        step.map_or(0, |step| step.item.info.range.end)
    }

    fn open(&mut self) -> Result<()> {
        self.opened = self.at;
        self.writer = self.recipe.steps.get(self.next).map(|step| Writer::new(&self.file, &step.item));
        self.close()
    }

    /// Finishes the current tensor when all its bytes have come.
    fn close(&mut self) -> Result<()> {
        if self.at < self.end() {
            return Ok(());
        }
        self.writer.as_mut().map_or(Ok(()), Writer::finish)
    }
}

/// The header of a file in which no tensor is packed.
fn unpacked(file: &str, header: &[u8], size: u64) -> Result<Option<Header>> {
    let (_, json) = header.split_at_checked(8).unwrap_or_default();
    let parsed = safetensors::parse_header(file, json, size)?;
    Ok(packed_tensors(file, &parsed)?.is_empty().then_some(parsed))
}
