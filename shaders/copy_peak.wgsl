// y = x: nothing but memory, to measure what the adapter has of it.
//
// x, y [elements] in vec4.
// Dispatch: one invocation a vec4, folded over x and y.
// info: vec4 elements, invocations a row of the dispatch.

@group(0) @binding(#) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(#) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

@compute @workgroup_size({{WG_X}})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.y * info[1] + id.x;
    if i < info[0] {
        y[i] = x[i];
    }
}
