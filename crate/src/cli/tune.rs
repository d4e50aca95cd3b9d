//! `easel tune`, and where measurements are kept between calls.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use easel::error::Result;
use easel::hardware::{Choice, Faults, Hardware};

use easel::kernel::Storage;
use easel::kernel::tune::{Entry, Table};
use easel::pipeline::Pipeline;
use easel::weights::Prefer;
use easel::weights::source::FolderSource;

use super::Precision;

/// Opens a device that knows what was measured on it before.
pub(super) async fn open(choice: Choice, precision: Precision) -> Result<Hardware> {
    let hardware = Hardware::open(choice, Faults::default()).await?;
    if precision == Precision::F16 {
        hardware.allow_f16()?;
    }
    adopt(&hardware);
    Ok(hardware)
}

/// Takes over what was measured on a device before, in its precision.
pub(super) fn adopt(hardware: &Hardware) {
    let text = file(hardware).and_then(|path| std::fs::read_to_string(path).ok());
    hardware.adopt_strategies(&text.unwrap_or_default());
}

/// Keeps the measurements of `hardware`. Where that cannot be done, they are made again.
pub(super) fn keep(hardware: &Hardware) {
    let Some(path) = file(hardware) else { return };
    let folder = path.parent().unwrap_or(Path::new("."));
    // Under another name first: a file is there whole or not at all.
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&part, hardware.strategies().to_json()))
        .and_then(|()| std::fs::rename(&part, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
}

/// One file an adapter, in the user's cache; none for the CPU, which has nothing to choose.
fn file(hardware: &Hardware) -> Option<PathBuf> {
    hardware.setup()?;
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = hardware.name().chars().take(100).map(letter).collect();
    let precision = if hardware.strategies().key().f16 { "-f16" } else { "" };
    Some(dirs::cache_dir()?.join("easel").join(format!("strategies-{name}{precision}.json")))
}

pub(super) async fn run(options: &super::Tune) -> Result<()> {
    let hardware = Rc::new(open(Choice::Gpu, options.precision).await?);
    if let Some(model) = &options.model {
        let source = Box::new(FolderSource::new(model));
        let pipeline = Pipeline::load(source, Rc::clone(&hardware), Prefer::Full, |_| ()).await?;
        pipeline.tune(Duration::from_secs(options.budget)).await?;
        keep(&hardware);
    }
    let table = hardware.strategies();
    if options.json {
        println!("{}", table.to_json());
    } else {
        print(&table);
    }
    Ok(())
}

fn print(table: &Table) {
    println!("{} ({})", table.key().adapter, table.key().driver.trim());
    if table.entries().is_empty() {
        println!("nothing was measured yet: name a model with --model, or draw with it on the GPU");
    }
    table.entries().iter().for_each(print_entry);
}

fn print_entry(entry: &Entry) {
    let class = &entry.class;
    let operation = format!("{:?}", class.operation).to_lowercase();
    let weight = class.quant.map_or("f32", |quant| quant.name());
    let storage = match class.storage {
        Storage::F32 => "",
        Storage::F16 => " of f16",
    };
    println!(
        "{operation} {weight}{storage}, up to {} rows, sums of {}, {} columns",
        class.rows, class.k, class.n
    );
    for timed in &entry.times {
        let mark = if timed.strategy == entry.choice { '*' } else { ' ' };
        println!("  {mark} {:<20} {:>12.1} us", timed.strategy, timed.microseconds);
    }
    if entry.times.is_empty() {
        println!("  * {:<20} not measured", entry.choice);
    }
}
