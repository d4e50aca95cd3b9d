//! Every WGSL kernel against its CPU implementation, natively, on whatever adapter the machine has: a software one in
//! CI. The same cases run in Chromium (`tests/browser`).

use cubecl::future::block_on;
use easel::hardware::{Choice, Faults, Hardware};
use easel::kernel::sampler_step;
use easel::kernel::self_test::cases;

#[test]
fn every_kernel_agrees_with_its_twin() {
    block_on(async {
        let gpu = Hardware::open(Choice::Gpu, Faults::default()).await;
        let gpu = gpu.expect("a Vulkan adapter; on Debian: apt-get install mesa-vulkan-drivers");
        let differences = gpu.self_test().await.expect("the GPU computes");
        assert!(differences.is_empty(), "{}", differences.join("\n"));
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

#[test]
fn no_terms_are_no_step() {
    assert!(sampler_step(&[], None).is_none());
}
