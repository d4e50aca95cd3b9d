//! Times the candidates of the products that a model has, most work first, until a budget is used up.

use std::collections::HashMap;
use std::time::Duration;

use super::table::{Class, Entry, Table, Timed};
use crate::kernel::strategy::{Adapter, Operation, Product, Strategy};

/// What the first run of a model on an adapter may spend.
pub const BUDGET: Duration = Duration::from_secs(2);

/// The adapter, as the tuner sees it.
pub trait Stopwatch {
    /// Time since some fixed moment.
    fn now(&self) -> Duration;

    /// Computes `product` `repeats` times by `strategy` and waits until that is done; false when the adapter failed.
    fn run(&mut self, product: &Product, strategy: Strategy, repeats: u32) -> impl Future<Output = bool>;
}

/// Long enough to stand out from the cost of a submission.
const TARGET: Duration = Duration::from_millis(5);
const MOST_REPEATS: u32 = 16;
/// Multiplications a second that an adapter is believed to do before any was measured.
const FIRST_GUESS: f64 = 5e8;
/// Parts of a product are no smaller: rows fill the largest tiles, and sums are as long as those that matter.
const LEAST_ROWS: usize = 64;
const LEAST_K: usize = 1024;
/// A candidate that is slower than the best by more than this is not timed a second time.
const HOPELESS: f64 = 1.5;

/// Adds to `table` the classes of `products` that it lacks, each product with the number of times that a model computes
/// it. `progress` hears of classes done and to do. Classes that the budget leaves out are left for the next time; the one
/// that is at work then is decided by what it has, so that every call gets ahead.
pub async fn measure<S: Stopwatch>(
    table: &mut Table,
    products: impl Iterator<Item = (Product, usize)>,
    budget: Duration,
    stopwatch: &mut S,
    mut progress: impl FnMut(usize, usize),
) {
    let todo = most_work_first(table, products);
    let mut tuner = Tuner { end: stopwatch.now() + budget, rate: FIRST_GUESS, stopwatch };
    for (done, product) in todo.iter().enumerate() {
        progress(done, todo.len());
        if tuner.is_over() {
            return;
        }
        let adapter = Adapter::current();
        let adapter = Adapter { software: adapter.software || table.is_of_software(), ..adapter };
        let mut times = Vec::new();
        tuner.time_candidates(product, adapter, &mut times).await;
        let fastest = times.iter().min_by(|a, b| a.microseconds.total_cmp(&b.microseconds));
        let choice = fastest.map_or_else(|| product.usual_strategy(adapter), |timed| timed.strategy);
        table.insert(Entry { class: Class::of(product), choice, times });
    }
}

fn work(product: &Product) -> f64 {
    product.rows as f64 * product.k as f64 * product.n as f64
}

/// The largest product of every class that `table` lacks. None of attention's is the first: products tell a software
/// adapter, which takes very long to compile some of attention's shaders.
fn most_work_first(table: &Table, products: impl Iterator<Item = (Product, usize)>) -> Vec<Product> {
    let mut classes: HashMap<Class, (Product, f64)> = HashMap::new();
    for (product, times) in products.filter(|(product, _)| !table.has(&Class::of(product))) {
        let (largest, total) = classes.entry(Class::of(&product)).or_insert((product, 0.0));
        *total += work(&product) * times as f64;
        if work(&product) > work(largest) {
            *largest = product;
        }
    }
    let mut classes: Vec<_> = classes.into_values().collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1));
    if let Some(first) = classes.iter().position(|(product, _)| product.operation != Operation::Attention) {
        classes[..=first].rotate_right(1);
    }
    classes.into_iter().map(|(product, _)| product).collect()
}

struct Tuner<'a, S> {
    end: Duration,
    /// Multiplications a second, of the best measurement so far.
    rate: f64,
    stopwatch: &'a mut S,
}

impl<S: Stopwatch> Tuner<'_, S> {
    fn is_over(&self) -> bool {
        self.stopwatch.now() >= self.end
    }

    /// Fills `times` with the candidates that run; `None` when the budget ran out before all had their turn.
    async fn time_candidates(
        &mut self,
        product: &Product,
        adapter: Adapter,
        times: &mut Vec<Timed>,
    ) -> Option<()> {
        let candidates = product.candidates(adapter);
        let part = self.fitting_part(product, *candidates.first()?).await?;
        let scale = work(product) / work(&part) * 1e6;
        for strategy in candidates {
            let best = times.iter().map(|timed| timed.microseconds).fold(f64::INFINITY, f64::min);
            // The first run compiles.
            let compiled = self.time(&part, strategy, 1).await?;
            let once = if compiled.is_some() { self.time(&part, strategy, 1).await? } else { None };
            let Some(mut seconds) = once else { continue };
            let repeats = ((TARGET.as_secs_f64() / seconds.max(1e-6)) as u32).min(MOST_REPEATS);
            if repeats > 1 && seconds * scale < best * HOPELESS {
                let together = self.time(&part, strategy, repeats).await?;
                seconds = together.map_or(f64::INFINITY, |together| together / f64::from(repeats));
            }
            times.push(Timed { strategy, microseconds: seconds * scale });
        }
        Some(())
    }

    /// The part of `product` on which to compare its candidates, found by running one of them.
    async fn fitting_part(&mut self, product: &Product, strategy: Strategy) -> Option<Product> {
        let mut part = self.part(product);
        for run in 0.. {
            let seconds = self.time(&part, strategy, 1).await?.unwrap_or(f64::INFINITY);
            // The first run compiles, and says nothing about speed.
            if run > 0 {
                self.rate = self.rate.max(work(&part) / seconds);
                let larger = self.part(product);
                if work(&larger) < work(&part) * 2.0 {
                    break;
                }
                part = larger;
            }
        }
        Some(part)
    }

    /// Seconds; the outer `None` when there is no time left, the inner one when the adapter or the clock failed.
    async fn time(&mut self, product: &Product, strategy: Strategy, repeats: u32) -> Option<Option<f64>> {
        if self.is_over() {
            return None;
        }
        let start = self.stopwatch.now();
        let ran = self.stopwatch.run(product, strategy, repeats).await;
        // Clocks of virtual machines run backwards at times.
        let spent = self.stopwatch.now().checked_sub(start).filter(|spent| ran && !spent.is_zero());
        Some(spent.map(|spent| spent.as_secs_f64()))
    }

    /// As much of `product` as the adapter computes in about [`TARGET`], if it is as fast as it ever was.
    fn part(&self, product: &Product) -> Product {
        let most = self.rate * TARGET.as_secs_f64();
        let mut part = *product;
        let fit = |size: usize, least: usize, work: f64| {
            let fitting = size as f64 * (most / work).min(1.0);
            (fitting as usize).max(least.min(size))
        };
        part.rows = fit(part.rows, LEAST_ROWS, work(&part));
        part.k = fit(part.k, LEAST_K, work(&part)).next_multiple_of(product.taps()).min(product.k);
        part
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::table::Key;
    use super::*;
    use crate::kernel::Storage;

    /// An adapter of constant speed, with a slower and a broken strategy, and a clock that may run backwards.
    struct Clock {
        now: Duration,
        speed: f64,
        runs: BTreeMap<String, usize>,
        broken: Option<Strategy>,
        backwards: Option<Strategy>,
    }

    impl Clock {
        fn new(speed: f64) -> Self {
            Self { now: Duration::ZERO, speed, runs: BTreeMap::new(), broken: None, backwards: None }
        }
    }

    const FAST: Strategy = Strategy::Register { rows: 4, columns: 1 };

    impl Stopwatch for Clock {
        fn now(&self) -> Duration {
            self.now
        }

        async fn run(&mut self, product: &Product, strategy: Strategy, repeats: u32) -> bool {
            assert!(product.rows > 0 && product.k > 0);
            let factor = if strategy == FAST { 1.0 } else { 3.0 };
            let seconds = work(product) * factor / self.speed * f64::from(repeats);
            self.now += Duration::from_secs_f64(seconds + 1e-4);
            if self.backwards == Some(strategy) {
                self.now = self.now.saturating_sub(Duration::from_secs_f64(seconds + 2e-4));
            }
            *self.runs.entry(format!("{strategy:?}")).or_default() += 1;
            self.broken != Some(strategy)
        }
    }

    fn product(rows: usize) -> (Product, usize) {
        let (operation, storage) = (Operation::Linear, Storage::F32);
        (Product { operation, quant: None, storage, rows, k: 2048, n: 512 }, 1)
    }

    fn measured(clock: &mut Clock, products: &[(Product, usize)]) -> Table {
        let mut table = Table::new(Key::new("", ""));
        let run =
            measure(&mut table, products.iter().copied(), BUDGET, clock, |done, all| assert!(done < all));
        cubecl::future::block_on(run);
        table
    }

    #[test]
    fn the_fastest_is_chosen_and_times_are_of_the_whole() {
        for speed in [1e9, 1e10, 1e13] {
            let mut clock = Clock::new(speed);
            let table = measured(&mut clock, &[product(4096)]);
            let [entry] = table.entries() else { panic!("{table:?}") };
            assert_eq!(entry.choice, FAST);
            let time = entry.times.iter().find(|timed| timed.strategy == FAST).unwrap();
            let expected = work(&product(4096).0) / speed * 1e6;
            let submission = 110.0 * (expected / 1000.0).max(1.0);
            assert!(
                (time.microseconds - expected).abs() < submission + expected * 0.1,
                "{time:?} {expected}"
            );
        }
    }

    #[test]
    fn what_a_clock_that_ran_backwards_measured_is_no_time() {
        let mut clock = Clock::new(1e10);
        clock.backwards = Some(FAST);
        let table = measured(&mut clock, &[product(4096)]);
        let [entry] = table.entries() else { panic!("{table:?}") };
        assert_ne!(entry.choice, FAST);
        assert!(
            entry.times.iter().all(|timed| timed.strategy != FAST && timed.microseconds > 0.0),
            "{entry:?}"
        );
    }

    #[test]
    fn a_slow_adapter_keeps_to_the_budget_and_the_rest_comes_next_time() {
        let mut clock = Clock::new(2e8);
        let products: Vec<_> = (0..12).map(|i| product(1 << i)).collect();
        let mut table = measured(&mut clock, &products);
        // One run may begin before the end and finish after it.
        let longest = (LEAST_ROWS * LEAST_K * 512) as f64 * 3.0 / 2e8;
        assert!(clock.now < BUDGET + Duration::from_secs_f64(longest + 0.1), "{:?}", clock.now);
        let first = table.entries().len();
        assert!(first > 0 && first < products.len());
        assert_eq!(table.entries()[0].class.rows, 1 << 11);
        for _ in 0..products.len() {
            cubecl::future::block_on(measure(
                &mut table,
                products.iter().copied(),
                BUDGET,
                &mut clock,
                |_, _| (),
            ));
        }
        assert_eq!(table.entries().len(), products.len());
        let runs = clock.runs.clone();
        cubecl::future::block_on(measure(
            &mut table,
            products.iter().copied(),
            BUDGET,
            &mut clock,
            |_, _| (),
        ));
        assert_eq!(clock.runs, runs, "what is known is not measured again");
    }

    #[test]
    fn a_strategy_that_fails_is_not_chosen() {
        let mut clock = Clock { broken: Some(FAST), ..Clock::new(1e10) };
        let table = measured(&mut clock, &[product(4096)]);
        assert!(table.entries()[0].times.iter().all(|timed| timed.strategy != FAST));
    }

    #[test]
    fn what_is_kept_in_f32_is_computed_in_f32() {
        let adapter = Adapter { f16: true, ..Adapter::default() };
        for operation in [Operation::Linear, Operation::Conv2d, Operation::Attention] {
            let product = Product { operation, n: 64, ..product(4096).0 };
            let rounds = |storage| {
                let candidates = Product { storage, ..product }.candidates(adapter);
                candidates.into_iter().any(Strategy::is_f16)
            };
            assert!(rounds(Storage::F16) && !rounds(Storage::F32), "{operation:?}");
        }
    }

    #[test]
    fn a_product_comes_before_attention() {
        let attention = Product { operation: Operation::Attention, rows: 1 << 15, n: 40, ..product(1).0 };
        let small = product(64);
        let table = measured(&mut Clock::new(1e10), &[(attention, 1), small]);
        let order: Vec<_> = table.entries().iter().map(|entry| entry.class.operation).collect();
        assert_eq!(order, [Operation::Linear, Operation::Attention]);
        // Registers won by far: this adapter is software, and none of attention's tiles were tried.
        let ways: Vec<_> = table.entries()[1].times.iter().map(|timed| timed.strategy).collect();
        assert!(!ways.is_empty());
        assert!(
            ways.iter().all(|strategy| matches!(strategy, Strategy::AttentionRegister { .. })),
            "{ways:?}"
        );
    }

    #[test]
    fn a_slower_candidate_is_timed_once() {
        let mut clock = Clock::new(1e13);
        measured(&mut clock, &[product(4096)]);
        let candidates = product(4096).0.candidates(Adapter::current());
        let after = candidates.into_iter().skip_while(|strategy| *strategy != FAST).skip(1);
        // To compile, and to see that it is slow.
        for slow in after {
            assert_eq!(clock.runs[&format!("{slow:?}")], 2);
        }
    }
}
