//! Every WGSL kernel against its CPU implementation, natively, on whatever adapter the machine has: a software one in
//! CI. The same cases run in Chromium (`tests/browser`).

use burn::tensor::{Tensor, TensorData};
use burn_wgpu::wgpu::Features;
use cubecl::future::block_on;
use easel::hardware::{Choice, Faults, Hardware};
use easel::kernel::self_test::{cases, f16_cases};
use easel::kernel::{
    Activation, Conv2d, GroupNorm, Operand, Weight, conv2d, group_norm, group_norm_apply, group_statistics,
    linear, sampler_step,
};
use easel::quantization::{Layout, Quant, pack, unpack};

#[test]
fn every_kernel_agrees_with_its_twin() {
    block_on(async {
        let gpu = Hardware::open(Choice::Gpu, Faults::default()).await;
        let gpu = gpu.expect("a Vulkan adapter; on Debian: apt-get install mesa-vulkan-drivers");
        let differences = gpu.self_test().await.expect("the GPU computes");
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        // A process opens one device, so this is no test of its own. Mesa's lavapipe has f16 since version 25.
        if gpu.setup().is_some_and(|setup| setup.device.features().contains(Features::SHADER_F16)) {
            for case in f16_cases() {
                let expected = Hardware::cpu().read(case.expected()).await.expect("the CPU computes");
                let found = gpu.read(case.found(gpu.device(), expected.len())).await;
                assert_eq!(case.difference(&found.expect("the GPU computes"), &expected), None);
            }
        }
    });
}

#[test]
fn a_difference_is_found() {
    let case = cases().swap_remove(0);
    let expected = block_on(Hardware::cpu().read(case.expected())).expect("the CPU computes");
    let mut found = expected.clone();
    assert_eq!(case.difference(&found, &expected), None);
    found[0] += 1e-3;
    assert!(case.difference(&found, &expected).is_some());
    found[0] = f32::NAN;
    assert!(case.difference(&found, &expected).is_some());
    assert!(case.difference(&[], &expected).is_some());
}

/// The CPU unpacks a weight in panels; here are more rows and more columns than one panel has.
#[test]
fn a_packed_weight_multiplies_as_the_numbers_that_it_stands_for() {
    let device = Hardware::cpu().device().clone();
    for (taps, channels, n) in [(1, 300, 1030), (9, 40, 6), (9, 64, 5)] {
        let layout = Layout { taps, channels, n };
        let values: Vec<f32> = (0..n * channels * taps).map(|i| (i * i % 97) as f32 / 48.0 - 1.0).collect();
        let x: Vec<f32> = (0..12 * channels).map(|i| (i * 7 % 31) as f32 / 15.0 - 1.0).collect();
        let x = Tensor::<3>::from_data(TensorData::new(x, [1, 12, channels]), &device);
        let product = |weight: &Weight| {
            let y = if taps == 1 {
                linear(x.clone(), weight, None, None, Activation::None)
            } else {
                conv2d(x.clone(), weight, Conv2d::same(3, 4, n), None, None, None)
            };
            block_on(Hardware::cpu().read(y)).expect("the CPU computes")
        };
        for quant in Quant::ALL {
            let packed = pack(quant, layout, &values);
            let numbers = unpack(quant, layout, &packed);
            let expected = match taps {
                1 => Weight::from_rows(&numbers, n, channels, &device),
                _ => Weight::from_convolution(&numbers, n, channels, 3, &device),
            };
            let expected = product(&expected);
            let found = product(&Weight::from_packed(quant, layout, packed.words, packed.scales, &device));
            // The same numbers, but sums of up to 576 terms below 1 are taken in another order.
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(found.len() == expected.len() && worst < 1e-4, "{quant:?} {layout:?}: {worst}");
        }
    }
}

/// Where the parts meet in the middle of a panel, of a block, or at an end of either.
#[test]
fn a_tail_is_read_as_if_it_had_been_concatenated() {
    let device = Hardware::cpu().device().clone();
    let tensor = |channels: usize, salt: usize| {
        let values = (0..2 * 7 * channels).map(|i| ((i + salt) * 7 % 31) as f32 / 15.0 - 1.0).collect();
        Tensor::<3>::from_data(TensorData::new(values, [2, 7, channels]), &device)
    };
    let read = |y: Tensor<3>| block_on(Hardware::cpu().read(y)).expect("the CPU computes");
    for (in_x, k) in [(32, 64), (10, 40), (600, 1200), (512, 524), (4, 1030)] {
        let x = Operand { x: tensor(in_x, 0), tail: Some(tensor(k - in_x, 3)) };
        let whole = x.clone().concatenated();
        assert_eq!(whole.dims(), [2, 7, k]);
        let layout = Layout { taps: 1, channels: k, n: 6 };
        let values: Vec<f32> = (0..6 * k).map(|i| (i * i % 97) as f32 / 48.0 - 1.0).collect();
        let packed = Quant::ALL.map(|quant| {
            let packed = pack(quant, layout, &values);
            Weight::from_packed(quant, layout, packed.words, packed.scales, &device)
        });
        for weight in packed.into_iter().chain([Weight::from_rows(&values, 6, k, &device)]) {
            let product = |x: Operand| read(linear(x, &weight, None, None, Activation::None));
            let (found, expected) = (product(x.clone()), product(whole.clone().into()));
            // Sums of up to 1200 terms below 1 are taken in another order.
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(found.len() == expected.len() && worst < 2e-4, "{in_x} of {k}: {worst}");
        }
        let [weight, bias] = [1.5, 0.5].map(|value| Tensor::<1>::full([k], value, &device));
        let options = GroupNorm { groups: 2, eps: 1e-5, activation: Activation::Silu };
        let normed = |x: Operand| read(group_norm(x, &weight, &bias, options));
        assert_eq!(normed(x), normed(whole.into()), "{in_x} of {k}");
    }
}

/// The CPU computes 3x3 convolutions by tiles of 2x2 pixels, panels of columns and parts of all tiles.
#[test]
fn a_convolution_on_the_cpu_is_that_of_the_definition() {
    let shapes = [
        (Conv2d::same(8, 8, 32), 1, 32),
        // Sides that are not whole tiles and more columns than a panel has; more tiles than fit one part.
        (Conv2d::same(7, 9, 72), 2, 36),
        (Conv2d::same(11, 25, 32), 1, 1024),
        (Conv2d { seen: (11, 14), ..Conv2d::same(6, 7, 32) }, 1, 32),
        (Conv2d { above: 0, left: 0, ..Conv2d::same(9, 8, 32) }, 1, 32),
        (Conv2d { stride: 2, ..Conv2d::same(9, 8, 32) }, 1, 32),
    ];
    let device = Hardware::cpu().device().clone();
    for (shape, batch, c_in) in shapes {
        let n = shape.out_channels;
        let (x, values) = (numbers(batch * shape.height * shape.width * c_in), numbers(n * c_in * 9));
        let images = TensorData::new(x.clone(), [batch, shape.height * shape.width, c_in]);
        let images = Tensor::<3>::from_data(images, &device);
        for quant in Quant::ALL.map(Some).into_iter().chain([None]) {
            let (weight, values) = weight_of(quant, Layout { taps: 9, channels: c_in, n }, &values);
            let found = conv2d(images.clone(), &weight, shape, None, None, None);
            let found = block_on(Hardware::cpu().read(found)).expect("the CPU computes");
            let expected = by_definition(&x, c_in, &values, &shape, batch);
            // Sums are of the size of the root of their number of terms; rounding is relative to that.
            let limit = 1e-5 * ((9 * c_in) as f32).sqrt();
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(found.len() == expected.len() && worst < limit, "{quant:?} {shape:?}: {worst}");
        }
    }
}

/// Of every height, from a row to the whole.
#[test]
fn parts_of_a_convolution_are_rows_of_the_whole() {
    let same = Conv2d::same(9, 6, 2);
    let shapes = [
        same,
        Conv2d { seen: (18, 12), ..same },
        Conv2d { seen: (17, 11), ..same },
        Conv2d { stride: 2, ..same },
        Conv2d { stride: 2, above: 0, left: 0, ..same },
        Conv2d { kernel: 1, above: 0, below: 0, left: 0, right: 0, ..same },
    ];
    let device = Hardware::cpu().device().clone();
    for shape in shapes {
        let x = Tensor::<3>::from_data(TensorData::new(numbers(9 * 6 * 3), [1, 9 * 6, 3]), &device);
        let taps = shape.kernel * shape.kernel;
        let weight = Weight::from_convolution(&numbers(2 * 3 * taps), 2, 3, shape.kernel, &device);
        let computed = |x: Tensor<3>, shape: Conv2d| {
            let y = conv2d(x, &weight, shape, None, None, None);
            block_on(Hardware::cpu().read(y)).expect("the CPU computes")
        };
        let whole = computed(x.clone(), shape);
        let (height, width) = shape.output();
        for (top, end) in (0..height).flat_map(|top| (top + 1..=height).map(move |end| (top, end))) {
            let rows = top..end;
            let seen = shape.sees(&rows);
            // Also of more rows than are seen.
            for held in [seen.clone(), seen.start / 2..9, 0..seen.end] {
                let part = shape.part(&rows, &held);
                assert_eq!(part.output(), (rows.len(), width), "{shape:?} {rows:?} of {held:?}");
                let found = computed(x.clone().narrow(1, held.start * 6, held.len() * 6), part);
                assert_eq!(found, whole[top * width * 2..end * width * 2], "{shape:?} {rows:?} of {held:?}");
            }
        }
    }
}

/// A picture in slabs has the norm of the whole, also far from zero, where sums of squares would cancel.
#[test]
fn slabs_are_normalised_as_the_whole() {
    let device = Hardware::cpu().device().clone();
    let (pixels, channels) = (60, 6);
    let x =
        Tensor::<3>::from_data(TensorData::new(numbers(pixels * channels), [1, pixels, channels]), &device);
    // From one end to the other, so that slabs have means of their own.
    let rise = Tensor::<1>::from_data(TensorData::new((0..60).map(|i| i as f32).collect(), [60]), &device);
    let x = x + rise.reshape([1, 60, 1]) + 100.0;
    let [weight, bias] = [1.0, 0.5].map(|value| Tensor::<1>::full([channels], value, &device));
    let options = GroupNorm { groups: 3, eps: 1e-5, activation: Activation::None };
    let read = |y| block_on(Hardware::cpu().read(y)).expect("the CPU computes");
    let whole = read(group_norm(x.clone(), &weight, &bias, options));
    for pixels in [1, 7, 30, 59] {
        let slabs = x.clone().split(pixels, 1);
        let statistics = group_statistics(&slabs, &weight, options);
        let found = read(group_norm_apply(slabs, &statistics, &bias, options.activation));
        let worst = found.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Means are kept in f32: by half a unit in the last place of 150, for a deviation of 17.
        assert!(found.len() == whole.len() && worst < 2e-6, "slabs of {pixels}: {worst}");
    }
}

/// Between -1 and 1, without a pattern that a mistake could fit.
fn numbers(count: usize) -> Vec<f32> {
    let hash =
        |i: usize| (i as u32).wrapping_mul(2_654_435_761).rotate_left(15).wrapping_mul(2_246_822_519) >> 16;
    (0..count).map(|i| hash(i) as f32 / 32_768.0 - 1.0).collect()
}

/// A convolution's weight and the numbers that it stands for, `[n, c_in, 3, 3]`.
fn weight_of(quant: Option<Quant>, layout: Layout, values: &[f32]) -> (Weight, Vec<f32>) {
    let device = Hardware::cpu().device().clone();
    let Some(quant) = quant else {
        return (Weight::from_convolution(values, layout.n, layout.channels, 3, &device), values.to_vec());
    };
    let packed = pack(quant, layout, values);
    let values = unpack(quant, layout, &packed);
    (Weight::from_packed(quant, layout, packed.words, packed.scales, &device), values)
}

/// Term by term: x `[batch, height*width, c_in]`, weight `[n, c_in, 3, 3]`.
fn by_definition(x: &[f32], c_in: usize, weight: &[f32], shape: &Conv2d, batch: usize) -> Vec<f32> {
    let ((height, width), n) = (shape.output(), shape.out_channels);
    let up = if shape.seen == (shape.height, shape.width) { 1 } else { 2 };
    let mut y = vec![0.0; batch * height * width * n];
    for (row, y) in y.chunks_exact_mut(n).enumerate() {
        let (image, top, left) =
            (row / (height * width), row / width % height * shape.stride, row % width * shape.stride);
        for tap in 0..9 {
            let (at_y, at_x) = (top + tap / 3, left + tap % 3);
            let (at_y, at_x) = (at_y.checked_add_signed(-shape.above), at_x.checked_sub(shape.left));
            let (Some(at_y), Some(at_x)) = (at_y, at_x) else { continue };
            if at_y >= shape.seen.0 || at_x >= shape.seen.1 {
                continue;
            }
            let (at_y, at_x) = (at_y / up, at_x / up);
            let pixel = &x[((image * shape.height + at_y) * shape.width + at_x) * c_in..][..c_in];
            for (y, weight) in y.iter_mut().zip(weight.chunks_exact(c_in * 9)) {
                *y += pixel.iter().zip(weight.chunks_exact(9)).map(|(x, taps)| x * taps[tap]).sum::<f32>();
            }
        }
    }
    y
}

#[test]
fn no_terms_are_no_step() {
    assert!(sampler_step(&[], None).is_none());
}
