//! A run of a model in which launches are noted and not made: what the real run will compile and multiply.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use burn::tensor::{Device, Shape, Tensor};
use burn_wgpu::{CubeBackend, CubeTensor};

use super::shader::{Variant, launch};
use super::strategy::Product;

thread_local! {
    static NOTES: RefCell<Option<Rehearsal>> = const { RefCell::new(None) };
}

/// What a rehearsal saw.
#[derive(Debug, Default)]
pub struct Rehearsal {
    pipelines: Vec<Pipeline>,
    products: HashMap<Product, usize>,
}

/// A variant and how it is launched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pipeline {
    variant: Variant,
    inputs: usize,
    info: usize,
}

/// Calls `forward`, whose operations on a GPU give tensors of the right shape that nothing was computed into. burn's own
/// operations run as ever; they are few.
pub fn rehearse(forward: impl FnOnce()) -> Rehearsal {
    /// Ends the rehearsal when `forward` panics, too.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            NOTES.take();
        }
    }
    NOTES.set(Some(Rehearsal::default()));
    let _end = End;
    forward();
    let mut seen = NOTES.take().unwrap_or_default();
    let mut known = HashSet::new();
    seen.pipelines.retain(|pipeline| known.insert(pipeline.clone()));
    seen
}

/// Notes a launch; false outside of a rehearsal.
pub(super) fn note_launch(variant: &Variant, inputs: usize, info: usize) -> bool {
    NOTES.with_borrow_mut(|notes| {
        let Some(notes) = notes else { return false };
        notes.pipelines.push(Pipeline { variant: variant.clone(), inputs, info });
        true
    })
}

/// Notes a product.
pub(crate) fn note_product(product: &Product) {
    NOTES.with_borrow_mut(|notes| {
        if let Some(notes) = notes {
            *notes.products.entry(*product).or_default() += 1;
        }
    });
}

impl Rehearsal {
    /// What was seen here and what was seen after it.
    #[must_use]
    pub fn and(mut self, next: Self) -> Self {
        let known: HashSet<&Pipeline> = self.pipelines.iter().collect();
        let new: Vec<_> = next.pipelines.into_iter().filter(|pipeline| !known.contains(pipeline)).collect();
        self.pipelines.extend(new);
        for (product, times) in next.products {
            *self.products.entry(product).or_default() += times;
        }
        self
    }

    /// Every pipeline once, in the order of first use.
    pub fn pipelines(&self) -> impl Iterator<Item = &Pipeline> {
        self.pipelines.iter()
    }

    /// Every product and how often it was computed, in no order.
    pub fn products(&self) -> impl Iterator<Item = (&Product, usize)> {
        self.products.iter().map(|(product, times)| (product, *times))
    }
}

/// Words of the operands of [`Pipeline::compile`]: more than any shader reads of an operation of size one.
const WORDS: usize = 1 << 14;

impl Pipeline {
    /// Compiles it by running it on an operation whose sizes are all one: some drivers compile only then. The result
    /// carries the failure, if any. `device` must be a GPU; `None` on others.
    #[must_use]
    pub fn compile(&self, device: &Device) -> Option<Tensor<1>> {
        let operand = Tensor::<1>::zeros([WORDS], device).try_into_primitive::<CubeBackend>().ok()?;
        let inputs: Vec<CubeTensor> = vec![operand; self.inputs];
        let info = vec![1; self.info];
        let output = launch(self.variant.clone(), inputs, Shape::new([WORDS]), [1, 1, 1], &info);
        Some(Tensor::from_primitive::<CubeBackend>(output))
    }
}
