//! What an opened GPU has, as far as the choice of strategies depends on it.

use burn_wgpu::WgpuSetup;
use burn_wgpu::wgpu::{CooperativeScalarType, DeviceType, Features};

use crate::kernel::strategy::Adapter;

/// It computes on the CPU.
pub(super) fn is_software(setup: &WgpuSetup) -> bool {
    setup.adapter.get_info().device_type == DeviceType::Cpu
}

/// With all that its device lets shaders use, and nothing that rounds.
pub(super) fn of(setup: &WgpuSetup) -> Adapter {
    let (info, features) = (setup.adapter.get_info(), setup.device.features());
    let subgroup = if features.contains(Features::SUBGROUP) { info.subgroup_min_size } else { 0 };
    // How many subgroups a workgroup has, and so what each multiplies, must be known before a shader is compiled.
    let shares_matrices =
        features.contains(Features::EXPERIMENTAL_COOPERATIVE_MATRIX) && subgroup == info.subgroup_max_size;
    let matrices = if shares_matrices { side_of_matrices(setup) } else { 0 };
    Adapter { software: is_software(setup), f16: false, subgroup, matrices }
}

/// The largest square matrices of f16 with sums in f32, 0 for none.
fn side_of_matrices(setup: &WgpuSetup) -> u32 {
    let all = setup.adapter.cooperative_matrix_properties();
    let sides = all.iter().filter_map(|matrix| {
        let square = matrix.m_size == matrix.n_size && matrix.m_size == matrix.k_size;
        let types = (matrix.ab_type, matrix.cr_type);
        let suits = square && types == (CooperativeScalarType::F16, CooperativeScalarType::F32);
        suits.then_some(matrix.m_size)
    });
    sides.filter(|side| [8, 16].contains(side)).max().unwrap_or(0)
}
