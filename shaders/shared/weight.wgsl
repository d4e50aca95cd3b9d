// The weight of a matrix product, `[rows, n4]` groups of four columns, four rows at a time.
//
// PACKING 0: f32. 8, 6, 4: integers of that many bits, which blocks of 32 rows times an f16 scale turn into numbers; the
// order of their words is that of crate/src/quantization.

#if PACKING == 0
@group(0) @binding(#) var<storage, read> weight: array<vec4<f32>>;
#else
@group(0) @binding(#) var<storage, read> words: array<u32>;
@group(0) @binding(#) var<storage, read> scales: array<vec2<u32>>;
#endif

// Rows of one tap of a convolution.
fn tap_rows(channels: u32) -> u32 {
#if PACKING == 0
    return channels;
#else
    return (channels + 31u) / 32u * 32u;
#endif
}

// Scale of the block that `row` is in.
fn weight_scale(row: u32, column4: u32, n4: u32) -> vec4<f32> {
#if PACKING == 0
    return vec4<f32>(1.0);
#else
    let halves = scales[row / 32u * n4 + column4];
    return vec4<f32>(unpack2x16float(halves.x), unpack2x16float(halves.y));
#endif
}

#if PACKING == 8
fn integers(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}
#elif PACKING == 4
// Four columns of the row in the lower half of `word`.
fn integers(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(0xfu)) - 8.0;
}
#elif PACKING == 6
// Four columns of the row in the lower half of `word`, and in the lowest byte of `high`.
fn integers(word: u32, high: u32) -> vec4<f32> {
    let lower = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(0xfu);
    let upper = (vec4<u32>(high << 4u) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x30u);
    return vec4<f32>(lower | upper) - 32.0;
}
#endif

// Rows `row` to `row + 3`, `row` being a multiple of four where the weight is packed.
fn weight_rows(row: u32, column4: u32, n4: u32, scale: vec4<f32>) -> mat4x4<f32> {
#if PACKING == 0
    // Rows past the end are multiplied by zeros of x. What lies behind the weight may be no number, and not every
    // backend checks bounds.
    let last = arrayLength(&weight) - 1u;
    let at = row * n4 + column4;
    return mat4x4<f32>(
        weight[min(at, last)],
        weight[min(at + n4, last)],
        weight[min(at + 2u * n4, last)],
        weight[min(at + 3u * n4, last)],
    );
#elif PACKING == 8
    let at = row * n4 + column4;
    return mat4x4<f32>(
        integers(words[at]) * scale,
        integers(words[at + n4]) * scale,
        integers(words[at + 2u * n4]) * scale,
        integers(words[at + 3u * n4]) * scale,
    );
#elif PACKING == 4
    let at = row / 2u * n4 + column4;
    let first = words[at];
    let second = words[at + n4];
    return mat4x4<f32>(
        integers(first) * scale,
        integers(first >> 16u) * scale,
        integers(second) * scale,
        integers(second >> 16u) * scale,
    );
#else
    let block = row / 32u * 24u;
    let at = (block + row % 32u / 2u) * n4 + column4;
    let first = words[at];
    let second = words[at + n4];
    let high = words[(block + 16u + row % 32u / 4u) * n4 + column4];
    return mat4x4<f32>(
        integers(first, high) * scale,
        integers(first >> 16u, high >> 8u) * scale,
        integers(second, high >> 16u) * scale,
        integers(second >> 16u, high >> 24u) * scale,
    );
#endif
}
