// The left side of a matrix product, four values of a row at a time. VEC4: rows are multiples of four long.

#if VEC4 == 1
@group(0) @binding(#) var<storage, read> x: array<vec4<Stored>>;
#else
@group(0) @binding(#) var<storage, read> x: array<Stored>;
#endif

// Values `i` to `i + 3` of the row of `length` values that starts at `row`; zeros past its end.
fn x_row(row: u32, i: u32, length: u32) -> vec4<f32> {
#if VEC4 == 1
    return vec4<f32>(x[(row + i) / 4u]);
#else
    var values = vec4<f32>(0.0);
    for (var j = 0u; j < min(length - i, 4u); j++) {
        values[j] = f32(x[row + i + j]);
    }
    return values;
#endif
}
