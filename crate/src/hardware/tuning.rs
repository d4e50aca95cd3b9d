//! Measuring and compiling on the opened GPU, before a model's first step.

use std::time::Duration;

use web_time::Instant;

use super::Hardware;
use crate::error::Result;
use crate::kernel::rehearsal::{Pipeline, Rehearsal};
use crate::kernel::strategy::{Adapter, Product, Strategy};
use crate::kernel::tune::{self, Key, Operands, Stopwatch, Table};

impl Hardware {
    /// What this adapter's table of strategies is valid for.
    fn key(&self) -> Key {
        let info = self.setup().map(|setup| setup.adapter.get_info());
        let driver = info.map(|info| format!("{} {} {:?}", info.driver, info.driver_info, info.backend));
        Key { f16: Adapter::current().f16, ..Key::new(self.name(), &driver.unwrap_or_default()) }
    }

    /// Takes over what was measured on this adapter before, as [`Self::strategies`] gave it. Text that is damaged or
    /// not of this adapter is as good as none.
    pub fn adopt_strategies(&self, text: &str) {
        self.take(Table::parse(text, self.key()));
    }

    fn take(&self, table: Table) {
        tune::choose(&table);
        if table.is_of_software() {
            self.assume_software();
        }
        self.strategies.replace(Some(table));
    }

    /// What was measured on this adapter, to be kept for the next time.
    #[must_use]
    pub fn strategies(&self) -> Table {
        self.strategies.borrow().clone().unwrap_or_else(|| Table::new(self.key()))
    }

    /// Measures how to compute the products of `rehearsal` that are not known yet, within `budget`, and computes them
    /// so from now on. `progress` hears of classes of products done and to do. True when anything was measured.
    ///
    /// # Errors
    /// Those of [`Self::settle`].
    pub async fn tune(
        &self,
        rehearsal: &Rehearsal,
        budget: Duration,
        progress: impl FnMut(usize, usize),
    ) -> Result<bool> {
        let mut table = self.strategies();
        let before = table.entries().len();
        let products = rehearsal.products().map(|(product, times)| (*product, times));
        let mut stopwatch = GpuStopwatch { hardware: self, start: Instant::now(), operands: None };
        tune::measure(&mut table, products, budget, &mut stopwatch, progress).await;
        let measured = table.entries().len() > before;
        self.take(table);
        self.check()?;
        Ok(measured)
    }

    /// Compiles the pipelines of `rehearsal` that were not compiled yet; `progress` hears of those done and to do.
    ///
    /// # Errors
    /// Those of [`Self::settle`].
    pub async fn compile(&self, rehearsal: &Rehearsal, mut progress: impl FnMut(usize, usize)) -> Result<()> {
        let new: Vec<&Pipeline> =
            rehearsal.pipelines().filter(|pipeline| !self.compiled.borrow().contains(*pipeline)).collect();
        for (done, pipeline) in new.iter().enumerate() {
            progress(done, new.len());
            if let Some(result) = pipeline.compile(&self.device) {
                self.settle(&result).await?;
            }
            self.compiled.borrow_mut().insert((*pipeline).clone());
        }
        Ok(())
    }
}

struct GpuStopwatch<'a> {
    hardware: &'a Hardware,
    start: Instant,
    /// Those of the last product, which the next candidate needs again.
    operands: Option<(Product, Operands)>,
}

impl Stopwatch for GpuStopwatch<'_> {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    async fn run(&mut self, product: &Product, strategy: Strategy, repeats: u32) -> bool {
        if self.operands.as_ref().is_none_or(|(of, _)| of != product) {
            // The old ones first, their memory may be needed.
            self.operands = None;
            let operands = Operands::new(product, self.hardware.device());
            self.operands = Some((*product, operands));
        }
        let Some((_, operands)) = &self.operands else { return false };
        let mut product = operands.multiply(Some(strategy));
        for _ in 1..repeats {
            product = operands.multiply(Some(strategy));
        }
        self.hardware.settle(&product).await.is_ok()
    }
}
