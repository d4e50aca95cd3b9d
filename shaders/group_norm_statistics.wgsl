// mean and 1 / sqrt(variance + eps) of every group of channels, over all pixels.
//
// x [batch, pixels, channels]; y [batch, groups, 2]. Two passes: the sum of squares is of centred values.
// Dispatch: one workgroup a group, x over groups, y over the batch.
// info: pixels, channels, groups, eps (bits of an f32).

@group(0) @binding(#) var<storage, read> x: array<f32>;
@group(0) @binding(#) var<storage, read_write> y: array<f32>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

const SIZE = {{WG_X}}u;

#include workgroup_sum

@compute @workgroup_size(SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pixels = info[0];
    let channels = info[1];
    let groups = info[2];
    let width = channels / groups;
    let base = group.y * pixels * channels + group.x * width;
    let count = f32(pixels * width);

    var sum = 0.0;
    for (var p = local; p < pixels; p += SIZE) {
        for (var c = 0u; c < width; c++) {
            sum += x[base + p * channels + c];
        }
    }
    let mean = workgroup_sum(local, sum) / count;

    var squares = 0.0;
    for (var p = local; p < pixels; p += SIZE) {
        for (var c = 0u; c < width; c++) {
            let centred = x[base + p * channels + c] - mean;
            squares += centred * centred;
        }
    }
    let variance = workgroup_sum(local, squares) / count;

    if local == 0u {
        let at = (group.y * groups + group.x) * 2u;
        y[at] = mean;
        y[at + 1u] = inverseSqrt(variance + bitcast<f32>(info[3]));
    }
}
