//! What was measured on one adapter, and its form as JSON.

use serde::{Deserialize, Serialize};

use crate::kernel::Storage;
use crate::kernel::strategy::{Adapter, Operation, Product, Strategy};
use crate::quantization::Quant;

/// Products that one measurement speaks for: each size rounded up to a power of two, but that of attention's heads, which
/// decides what its shaders are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Class {
    /// What asks for the product.
    pub operation: Operation,
    /// How the weight is packed; `None` for f32.
    pub quant: Option<Quant>,
    /// What the activations are in memory.
    pub storage: Storage,
    /// Rows of the result.
    pub rows: usize,
    /// Length of the sums.
    pub k: usize,
    /// Columns of the result.
    pub n: usize,
}

impl Class {
    /// Whether there are shaders to compute its products by `strategy`, on the current adapter.
    fn has(&self, strategy: Strategy) -> bool {
        let Self { operation, quant, storage, rows, k, n } = *self;
        let known = Product { operation, quant, storage, rows, k, n }.strategies().contains(&strategy);
        known && strategy.runs_on(Adapter::current())
    }

    /// The class of a product.
    #[must_use]
    pub fn of(product: &Product) -> Self {
        let Product { operation, quant, storage, rows, k, n } = *product;
        let [rows, k, columns] = [rows, k, n].map(usize::next_power_of_two);
        let n = if operation == Operation::Attention { n } else { columns };
        Self { operation, quant, storage, rows, k, n }
    }
}

/// What a table is valid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Name of the adapter.
    pub adapter: String,
    /// The driver and its version, as far as they are known.
    pub driver: String,
    /// Version of this crate, whose shaders were measured.
    pub easel: String,
    /// Whether strategies that compute in f16 were among them.
    pub f16: bool,
}

impl Key {
    /// For this version of the crate, and f32 alone.
    #[must_use]
    pub fn new(adapter: &str, driver: &str) -> Self {
        let easel = env!("CARGO_PKG_VERSION").into();
        Self { adapter: adapter.into(), driver: driver.into(), easel, f16: false }
    }
}

/// One candidate's time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// The candidate.
    pub strategy: Strategy,
    /// Time for the whole of the class's largest product; of a part that was measured, scaled up.
    pub microseconds: f64,
}

/// The choice for a class and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The products that it is for.
    pub class: Class,
    /// The fastest.
    pub choice: Strategy,
    /// All candidates, in the order of the measurement.
    pub times: Vec<Timed>,
}

/// Products of one adapter differ less; software that runs tiles well was seen at 1.4.
const CLEARLY: f64 = 1.2;

/// The choices of one adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    key: Key,
    entries: Vec<Entry>,
}

impl Table {
    /// Without entries.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self { key, entries: Vec::new() }
    }

    /// From [`Self::to_json`]'s text. What is damaged, or of another adapter, driver or version, gives a table without
    /// entries.
    #[must_use]
    pub fn parse(text: &str, key: Key) -> Self {
        match serde_json::from_str::<Self>(text) {
            Ok(mut table) if table.key == key => {
                // A file may say anything; a tile that no code was written for must not reach a shader.
                table.entries.retain(|entry| entry.class.has(entry.choice));
                table
            }
            _ => Self::new(key),
        }
    }

    /// As text.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and numbers alone: there is nothing to fail on.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What the table is valid for.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The entries in the order of measurement.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether products are computed clearly better without workgroup memory: so they are on software adapters, whatever
    /// those call themselves.
    #[must_use]
    pub fn is_of_software(&self) -> bool {
        let products = self.entries.iter().filter(|entry| entry.class.operation != Operation::Attention);
        let least = |entry: &Entry, of_kind: fn(&Strategy) -> bool| {
            let times = entry.times.iter().filter(|timed| of_kind(&timed.strategy));
            times.map(|timed| timed.microseconds).min_by(f64::total_cmp)
        };
        let registers = |strategy: &Strategy| matches!(strategy, Strategy::Register { .. });
        let tiles = |strategy: &Strategy| matches!(strategy, Strategy::Tiled { .. });
        let both = products.filter_map(|entry| Some((least(entry, registers)?, least(entry, tiles)?)));
        let (registers, tiles) =
            both.fold((0.0, 0.0), |sums, (register, tile)| (sums.0 + register, sums.1 + tile));
        tiles > CLEARLY * registers
    }

    /// Adds an entry, in the place of one for the same class.
    pub fn insert(&mut self, entry: Entry) {
        self.entries.retain(|old| old.class != entry.class);
        self.entries.push(entry);
    }

    pub(super) fn has(&self, class: &Class) -> bool {
        self.entries.iter().any(|entry| entry.class == *class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let (operation, quant, storage) = (Operation::Conv2d, Some(Quant::Q6), Storage::F16);
        let class = Class { operation, quant, storage, rows: 4096, k: 4096, n: 512 };
        let times = Strategy::ALL.map(|strategy| Timed { strategy, microseconds: 12.5 }).to_vec();
        let mut table = Table::new(Key::new("adapter", "driver 1"));
        table.insert(Entry { class, choice: Strategy::ALL[1], times });
        table.insert(Entry {
            class: Class { quant: None, ..class },
            choice: Strategy::ALL[0],
            times: Vec::new(),
        });
        table
    }

    #[test]
    fn text_and_back() {
        assert_eq!(Table::parse(&table().to_json(), table().key), table());
    }

    #[test]
    fn another_adapter_driver_or_version_starts_anew() {
        let key = table().key;
        for other in [
            Key { adapter: "another".into(), ..key.clone() },
            Key { driver: "driver 2".into(), ..key.clone() },
            Key { easel: "0.0.0".into(), ..key },
        ] {
            assert_eq!(Table::parse(&table().to_json(), other.clone()), Table::new(other));
        }
    }

    #[test]
    fn damage_starts_anew() {
        let (text, key) = (table().to_json(), table().key);
        for damaged in ["", "null", "[]", "{}", &text[1..], &text[..text.len() / 2]] {
            assert_eq!(Table::parse(damaged, key.clone()), Table::new(key.clone()), "{damaged}");
        }
    }

    #[test]
    fn a_strategy_that_does_not_exist_is_dropped() {
        let mut odd = table();
        odd.entries[1].choice = Strategy::Register { rows: 4_000_000_000, columns: 1 };
        let parsed = Table::parse(&odd.to_json(), table().key);
        assert_eq!(parsed.entries(), &table().entries()[..1]);
    }

    #[test]
    fn a_class_has_one_entry() {
        let mut table = table();
        let again = Entry { choice: Strategy::ALL[2], ..table.entries[0].clone() };
        table.insert(again.clone());
        assert_eq!((table.entries.len(), table.entries.last()), (2, Some(&again)));
    }
}
