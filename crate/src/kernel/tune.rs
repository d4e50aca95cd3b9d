//! Which strategy an adapter runs a product with.

use super::strategy::{Product, Strategy};

/// The strategy for `product`.
pub(crate) fn strategy(product: &Product) -> Strategy {
    product.usual_strategy()
}
