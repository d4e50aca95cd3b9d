//! Memory of the device that burn keeps for reuse.

use std::cell::Cell;

use burn::tensor::Device;

thread_local! {
    static MOST: Cell<u64> = const { Cell::new(0) };
}

/// Bytes that burn holds on a GPU now, pages kept for reuse included; 0 on the CPU.
pub(crate) fn held_bytes(device: &Device) -> u64 {
    let held = device.memory_pool_usage().map_or(0, |usage| usage.bytes_reserved);
    MOST.set(MOST.get().max(held));
    held
}

/// Gives back the pages that no tensor is in. burn uses a page again for tensors of its size only, so that stages of
/// growing activations would keep those of all sizes.
pub(crate) fn free_unused(device: &Device) {
    held_bytes(device);
    device.memory_cleanup();
}

/// The most that [`held_bytes`] and [`free_unused`] met since the last call, and what is held now.
pub(crate) fn take_most_bytes(device: &Device) -> u64 {
    held_bytes(device);
    MOST.take()
}
