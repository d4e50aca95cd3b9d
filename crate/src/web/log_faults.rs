//! Errors that the GPU layers only log in a browser, a shader that does not compile above all, become faults of the
//! run: without this the picture would be black and nobody would know why.

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::hardware::Faults;

struct FaultLog(Faults);

impl Log for FaultLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() == Level::Error
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.report(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// From now on every record of level error goes to `faults`. The first call of a process counts.
pub(super) fn install(faults: Faults) {
    if log::set_logger(Box::leak(Box::new(FaultLog(faults)))).is_ok() {
        log::set_max_level(LevelFilter::Error);
    }
}
