// mean, and weight / sqrt(variance + eps), of every channel by the group of channels it belongs to, over all pixels.
//
// One pass: sums of differences to the group's first value, and of their squares. They cancel little, since a value
// of the group is near its mean as measured by its deviation.
// x [batch, pixels, channels] in Lanes, the last of which may be in tail, channels of a group being a multiple of a Lane;
// weight [channels]; y [batch, 2, channels].
// Pictures may lie in slabs of their pixels that follow each other. LAST 0: y is [batch, groups, 2], mean and variance so
// far, for the next slab, where BEFORE is 1.
// Dispatch: one workgroup a group, x over groups, y over the batch.
// info: pixels, channels, groups, eps (bits of an f32), pixels of the slabs before, Lanes of a pixel in x.

#include storage
#include lanes

#if BEFORE == 1
@group(0) @binding(#) var<storage, read> before: array<f32>;
#endif
#if LAST == 1
@group(0) @binding(#) var<storage, read> weight: array<f32>;
#endif
@group(0) @binding(#) var<storage, read_write> y: array<f32>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

#if LANE == 4
fn sum_of(v: Lane) -> f32 { return v.x + v.y + v.z + v.w; }
fn first_of(v: Lane) -> f32 { return v.x; }
#elif LANE == 2
fn sum_of(v: Lane) -> f32 { return v.x + v.y; }
fn first_of(v: Lane) -> f32 { return v.x; }
#else
fn sum_of(v: Lane) -> f32 { return v; }
fn first_of(v: Lane) -> f32 { return v; }
#endif

const SIZE = {{WG_X}}u;

#include workgroup_sum

@compute @workgroup_size(SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pixels = info[0];
    let channels = info[1];
    let width = channels / info[2];
    let lanes = width / {{LANE}}u;
    let stride = channels / {{LANE}}u;
    let first_pixel = group.y * pixels;
    let first_lane = group.x * lanes;
    let count = f32(pixels * width);

    let first = first_of(x_lane(row_at(first_pixel, stride, info[5]), first_lane));
    var sums = Lane();
    var squares = Lane();
    for (var p = local; p < pixels; p += SIZE) {
        let row = row_at(first_pixel + p, stride, info[5]);
        for (var c = 0u; c < lanes; c++) {
            let difference = x_lane(row, first_lane + c) - first;
            sums += difference;
            squares += difference * difference;
        }
    }
    let shifted = workgroup_sum(local, sum_of(sums)) / count;
    var variance = max(workgroup_sum(local, sum_of(squares)) / count - shifted * shifted, 0.0);
    var mean = first + shifted;
    let state = (group.y * info[2] + group.x) * 2u;
#if BEFORE == 1
    // Chan, Golub and LeVeque, 1979.
    let share = f32(pixels) / f32(info[4] + pixels);
    let difference = mean - before[state];
    mean = before[state] + difference * share;
    variance = mix(before[state + 1u], variance, share) + difference * difference * share * (1.0 - share);
#endif

#if LAST == 1
    let inverse_deviation = inverseSqrt(variance + bitcast<f32>(info[3]));
    for (var c = local; c < width; c += SIZE) {
        let channel = group.x * width + c;
        let at = group.y * 2u * channels + channel;
        y[at] = mean;
        y[at + channels] = inverse_deviation * weight[channel];
    }
#else
    if local == 0u {
        y[state] = mean;
        y[state + 1u] = variance;
    }
#endif
}
