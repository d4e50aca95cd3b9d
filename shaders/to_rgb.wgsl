// rgb[p] = clamp(map * x[p] + offset, 0, 1): a picture from latents (the preview) or from the decoder's output.
//
// x [pixels, channels]; map [channels + 1, 3], its last row the offset; rgb [pixels, 3].
// Dispatch: one invocation a pixel, folded over x and y.
// info: pixels, channels, invocations a row of the dispatch.

@group(0) @binding(#) var<storage, read> x: array<f32>;
@group(0) @binding(#) var<storage, read> map: array<f32>;
@group(0) @binding(#) var<storage, read_write> rgb: array<f32>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

@compute @workgroup_size({{WG_X}})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let channels = info[1];
    let p = id.y * info[2] + id.x;
    if p >= info[0] {
        return;
    }
    for (var o = 0u; o < 3u; o++) {
        var sum = map[channels * 3u + o];
        for (var c = 0u; c < channels; c++) {
            sum += map[c * 3u + o] * x[p * channels + c];
        }
        rgb[p * 3u + o] = clamp(sum, 0.0, 1.0);
    }
}
