// y[r, c] = x[r, c] * gelu(x[r, width + c])    (GEGLU, arXiv:2002.05202)
//
// x [rows, 2*width]; y [rows, width].
// Dispatch: one invocation four neighbouring elements of y, folded over x and y.
// info: width, elements of y, invocations a row of the dispatch.

#include storage

@group(0) @binding(#) var<storage, read> x: array<Stored>;
@group(0) @binding(#) var<storage, read_write> y: array<Stored>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

#include activation

@compute @workgroup_size({{WG_X}})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let width = info[0];
    let elements = info[1];
    let first = (id.y * info[2] + id.x) * 4u;
    if first >= elements {
        return;
    }
    let count = min(elements - first, 4u);
    var value = vec4<f32>(0.0);
    var gate = vec4<f32>(0.0);
    for (var i = 0u; i < count; i++) {
        let at = ((first + i) / width) * 2u * width + (first + i) % width;
        value[i] = f32(x[at]);
        gate[i] = f32(x[at + width]);
    }
    value *= gelu4(gate);
    for (var i = 0u; i < count; i++) {
        y[first + i] = Stored(value[i]);
    }
}
