//! Every shader module of Easel.

/// `(name, WGSL)` of every variant of every kernel, and of the page's presenter.
pub(crate) fn all() -> Vec<(String, String)> {
    let mut modules = easel::kernel::shader_sources();
    modules.push(("present".to_owned(), include_str!("../../shaders/present.wgsl").to_owned()));
    modules
}
