//! Which strategy the GPU runs a product with: the best of a measurement where there was one, else the usual one.
//!
//! Choices belong to a thread, like the model that uses them. A wrong one costs time and nothing else.

mod measure;
mod operands;
mod table;

use std::cell::RefCell;
use std::collections::HashMap;

use crate::kernel::rehearsal::note_product;
use crate::kernel::strategy::{Adapter, Product, Strategy};

pub use measure::{BUDGET, Stopwatch, measure};
pub use operands::Operands;
pub use table::{Class, Entry, Key, Table, Timed};

thread_local! {
    static CHOICES: RefCell<HashMap<Class, Strategy>> = RefCell::default();
}

/// The strategy for `product`.
pub(crate) fn strategy(product: &Product) -> Strategy {
    note_product(product);
    let adapter = Adapter::current();
    let chosen = CHOICES.with_borrow(|choices| choices.get(&Class::of(product)).copied());
    let chosen = chosen.filter(|strategy| strategy.runs_on(adapter));
    chosen.unwrap_or_else(|| product.usual_strategy(adapter))
}

/// Makes the choices of `table` those of this thread, in the place of earlier ones.
pub fn choose(table: &Table) {
    CHOICES.set(table.entries().iter().map(|entry| (entry.class, entry.choice)).collect());
}

#[cfg(test)]
mod tests {
    use super::super::Storage;
    use super::super::strategy::Operation;
    use super::*;

    #[test]
    fn a_choice_is_used_and_another_class_keeps_the_usual_strategy() {
        let (operation, storage) = (Operation::Linear, Storage::F32);
        let product = Product { operation, quant: None, storage, rows: 4000, k: 300, n: 300 };
        let usual = product.usual_strategy(Adapter::current());
        let other = Strategy::ALL.into_iter().find(|strategy| *strategy != usual).unwrap();
        let mut table = Table::new(Key::new("adapter", "driver"));
        table.insert(Entry { class: Class::of(&product), choice: other, times: Vec::new() });
        assert_eq!(strategy(&product), usual);
        choose(&table);
        assert_eq!(strategy(&product), other);
        assert_eq!(strategy(&Product { rows: 4096, ..product }), other);
        assert_eq!(strategy(&Product { rows: 4097, ..product }), usual);
        assert_eq!(strategy(&Product { storage: Storage::F16, ..product }), usual);
        choose(&Table::new(Key::new("adapter", "driver")));
        assert_eq!(strategy(&product), usual);
    }
}
