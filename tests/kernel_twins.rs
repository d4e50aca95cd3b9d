//! Every WGSL kernel against its CPU implementation, natively, on whatever adapter the machine has: a software one in
//! CI. The same cases run in Chromium (`tests/browser`).

use burn::tensor::{Tensor, TensorData};
use burn_wgpu::wgpu::Features;
use cubecl::future::block_on;
use easel::hardware::{Choice, Faults, Hardware};
use easel::kernel::self_test::{cases, f16_cases};
use easel::kernel::{Activation, Conv2d, Weight, conv2d, linear, sampler_step};
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
                let found = found.expect("the GPU computes");
                assert_eq!(found.len(), expected.len());
                assert_eq!(case.f16_difference(&found, &expected), None);
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

#[test]
fn no_terms_are_no_step() {
    assert!(sampler_step(&[], None).is_none());
}
