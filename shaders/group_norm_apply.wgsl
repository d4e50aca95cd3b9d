// y = activate((x - mean) * inverse_deviation * weight + bias), by the statistics of group_norm_statistics.
//
// x, y [batch, pixels, channels]; statistics [batch, groups, 2]; weight, bias [channels].
// Dispatch: one invocation four neighbouring elements, folded over x and y.
// info: pixels, channels, groups, elements, invocations a row of the dispatch.

@group(0) @binding(#) var<storage, read> x: array<f32>;
@group(0) @binding(#) var<storage, read> statistics: array<f32>;
@group(0) @binding(#) var<storage, read> weight: array<f32>;
@group(0) @binding(#) var<storage, read> bias: array<f32>;
@group(0) @binding(#) var<storage, read_write> y: array<f32>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

#include activation

@compute @workgroup_size({{WG_X}})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pixels = info[0];
    let channels = info[1];
    let groups = info[2];
    let elements = info[3];
    let width = channels / groups;
    let first = (id.y * info[4] + id.x) * 4u;
    if first >= elements {
        return;
    }
    let count = min(elements - first, 4u);
    var value = vec4<f32>(0.0);
    for (var i = 0u; i < count; i++) {
        let at = first + i;
        let c = at % channels;
        let s = ((at / (pixels * channels)) * groups + c / width) * 2u;
        value[i] = (x[at] - statistics[s]) * statistics[s + 1u] * weight[c] + bias[c];
    }
    value = activate(value);
    for (var i = 0u; i < count; i++) {
        y[first + i] = value[i];
    }
}
