//! The static registrations of the crates below, cubecl's operations above all.

use wasm_bindgen::prelude::wasm_bindgen;

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Runs them once, when the module starts. Where nothing calls them by name, the linker lets every exported function
/// run all of them before its own work, thousands at each call from JavaScript.
#[wasm_bindgen(start)]
fn run_once() {
    // SAFETY: the linker defines the function; it takes nothing and returns nothing, and this is its only call.
    unsafe { __wasm_call_ctors() }
}
