//! A product made of nothing but its sizes.

use burn::tensor::{Device, Tensor};

use crate::kernel::strategy::{Operation, Product, Strategy};
use crate::kernel::{Activation, Attention, Conv2d, Weight, attention_by, conv2d_by, linear_by};

/// Operands of zeros for a product.
pub struct Operands {
    product: Product,
    x: Tensor<3>,
    other: Other,
}

/// What `x` is multiplied by.
enum Other {
    Weight(Weight),
    /// Keys, which are the values too: `x` are the queries of one head.
    Keys(Box<Tensor<3>>),
}

/// Longest side of the picture that a convolution's rows are laid out as.
const SIDE: usize = 64;

impl Operands {
    /// On `device`. A convolution gets the shape of a picture with about as many rows.
    #[must_use]
    pub fn new(product: &Product, device: &Device) -> Self {
        let Product { operation, quant, storage, k, n, .. } = *product;
        let taps = product.taps();
        let rows = match operation {
            Operation::Linear | Operation::Attention => product.rows,
            Operation::Conv2d => {
                let (height, width) = picture(product.rows);
                height * width
            }
        };
        let activations = |rows, channels| Tensor::zeros([1, rows, channels], (device, storage.dtype()));
        let (channels, other) = match operation {
            Operation::Attention => (n, Other::Keys(Box::new(activations(k, n)))),
            Operation::Linear | Operation::Conv2d => {
                (k / taps, Other::Weight(Weight::zeros(quant, taps, k, n, device)))
            }
        };
        Self { product: Product { rows, ..*product }, x: activations(rows, channels), other }
    }

    /// What they are the operands of.
    #[must_use]
    pub fn product(&self) -> &Product {
        &self.product
    }

    /// The product, `[1, rows, n]`, by `strategy`, or by the tuned one.
    #[must_use]
    pub fn multiply(&self, strategy: Option<Strategy>) -> Tensor<3> {
        let x = self.x.clone();
        let weight = match &self.other {
            Other::Weight(weight) => weight,
            Other::Keys(keys) => {
                let shape = Attention { heads: 1, causal: false };
                return attention_by(strategy, x, *keys.clone(), *keys.clone(), shape);
            }
        };
        match self.product.operation {
            Operation::Conv2d => {
                let (height, width) = picture(self.product.rows);
                let mut shape = Conv2d::same(height, width, self.product.n);
                if self.product.taps() == 1 {
                    shape = Conv2d { kernel: 1, above: 0, below: 0, left: 0, right: 0, ..shape };
                }
                conv2d_by(strategy, x, weight, shape, None, None, None)
            }
            Operation::Linear | Operation::Attention => {
                linear_by(strategy, x, weight, None, None, Activation::None)
            }
        }
    }
}

/// Height and width of a picture of about `rows` pixels.
fn picture(rows: usize) -> (usize, usize) {
    let width = rows.isqrt().clamp(1, SIDE);
    (rows / width, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Storage;
    use crate::quantization::Quant;

    #[test]
    fn a_convolution_is_laid_out_as_a_picture() {
        for rows in [1, 2, 63, 64, 4096, 16384, 16385] {
            let (height, width) = picture(rows);
            assert!(height * width <= rows && height * width + width > rows);
            // A picture's rows are a picture's rows again.
            assert_eq!(picture(height * width).0 * picture(height * width).1, height * width);
        }
    }

    #[test]
    fn products_have_their_sizes() {
        let device = Device::flex();
        for (operation, quant, rows, k, n) in [
            (Operation::Linear, None, 5, 7, 3),
            (Operation::Linear, Some(Quant::Q6), 5, 33, 3),
            (Operation::Conv2d, None, 64, 36, 8),
            (Operation::Conv2d, Some(Quant::Q4), 64, 36, 8),
            (Operation::Conv2d, None, 4, 5, 2),
            (Operation::Attention, None, 6, 9, 4),
        ] {
            let operands =
                Operands::new(&Product { operation, quant, storage: Storage::F32, rows, k, n }, &device);
            assert_eq!(operands.multiply(None).dims(), [1, rows, n]);
        }
    }
}
