// y[p] = mask[p] * x[p] + (1 - mask[p]) * kept[p]: what is drawn where the mask is 1, what was there where it is 0.
//
// x, kept and y [pixels, channels]; mask [pixels].
// Dispatch: one invocation an element, folded over x and y.
// info: elements, channels, invocations a row of the dispatch.

@group(0) @binding(#) var<storage, read> x: array<f32>;
@group(0) @binding(#) var<storage, read> kept: array<f32>;
@group(0) @binding(#) var<storage, read> mask: array<f32>;
@group(0) @binding(#) var<storage, read_write> y: array<f32>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

@compute @workgroup_size({{WG_X}})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.y * info[2] + id.x;
    if i >= info[0] {
        return;
    }
    let drawn = mask[i / info[1]];
    y[i] = drawn * x[i] + (1.0 - drawn) * kept[i];
}
