// y = (x - mean) / sqrt(variance + eps) * weight + bias, row by row.
//
// x, y [rows, channels]; weight, bias [channels].
// Dispatch: one workgroup a row, folded over x and y.
// info: rows, channels, eps (bits of an f32), workgroups a row of the dispatch.

#include storage

@group(0) @binding(#) var<storage, read> x: array<Stored>;
@group(0) @binding(#) var<storage, read> weight: array<f32>;
@group(0) @binding(#) var<storage, read> bias: array<f32>;
@group(0) @binding(#) var<storage, read_write> y: array<Stored>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

const SIZE = {{WG_X}}u;

#include workgroup_sum

@compute @workgroup_size(SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group.y * info[3] + group.x;
    if row >= info[0] {
        return;
    }
    let channels = info[1];
    let base = row * channels;

    var sum = 0.0;
    for (var c = local; c < channels; c += SIZE) {
        sum += f32(x[base + c]);
    }
    let mean = workgroup_sum(local, sum) / f32(channels);

    var squares = 0.0;
    for (var c = local; c < channels; c += SIZE) {
        let centred = f32(x[base + c]) - mean;
        squares += centred * centred;
    }
    let variance = workgroup_sum(local, squares) / f32(channels);

    let scale = inverseSqrt(variance + bitcast<f32>(info[2]));
    for (var c = local; c < channels; c += SIZE) {
        y[base + c] = Stored((f32(x[base + c]) - mean) * scale * weight[c] + bias[c]);
    }
}
