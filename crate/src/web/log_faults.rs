//! Errors that the GPU layers only log in a browser, a shader that does not compile above all, become faults of the
//! run: without this the picture would be black and nobody would know why.

use std::sync::LazyLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::hardware::Faults;

/// A record does not say whose it is: a worker's engines share them.
static FAULTS: LazyLock<Faults> = LazyLock::new(Faults::default);

struct FaultLog;

impl Log for FaultLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() == Level::Error
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            FAULTS.report(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Where every record of level error goes from now on.
pub(super) fn install() -> Faults {
    if log::set_logger(&FaultLog).is_ok() {
        log::set_max_level(LevelFilter::Error);
    }
    FAULTS.clone()
}
