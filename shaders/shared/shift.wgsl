// Row info[14] of a matrix [calls, c_out] that a convolution adds to its sums; c_out is info[6].

#if SHIFT == 1
fn shift_of(column4: u32) -> vec4<f32> {
    let c_out = info[6];
    let first = info[14] * c_out;
    var value = vec4<f32>(0.0);
    let count = min(c_out - column4 * 4u, 4u);
    for (var i = 0u; i < count; i++) {
        value[i] = shift[first + column4 * 4u + i];
    }
    return value;
}
#endif
