//! Errors across the boundary.

use wasm_bindgen::{JsCast as _, JsValue};

use crate::error::Error;

/// An `Error` with `name` "EaselError", a stable `code`, and a sentence that says what to do.
pub(super) fn to_js(error: &Error) -> JsValue {
    coded(error.code(), &error.to_string())
}

/// An `Error` for a misuse of the engine's own interface.
pub(super) fn misuse(message: &str) -> JsValue {
    coded("misuse", message)
}

fn coded(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    error.set_name("EaselError");
    // Setting a property of a fresh object cannot fail.
    let _ = js_sys::Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// What JavaScript's side of a source threw: passed on as it came, when it leaves by way of Rust.
pub(super) fn from_js(file: &str, thrown: &JsValue) -> Error {
    let text = thrown.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    let code = js_sys::Reflect::get(thrown, &"code".into()).ok().and_then(|code| code.as_string());
    let reason = text.unwrap_or_else(|| format!("{thrown:?}"));
    match code {
        Some(code) => Error::Source { code, reason },
        None => Error::Io { file: file.to_owned(), reason },
    }
}
