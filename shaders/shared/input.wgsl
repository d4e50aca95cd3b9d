// The left side of a matrix product, four values of a row at a time. VEC4: rows, and what x has of them, are multiples of
// four long. TAIL: see row.

#if VEC4 == 1
alias Input = vec4<Stored>;
#else
alias Input = Stored;
#endif

@group(0) @binding(#) var<storage, read> x: array<Input>;
#if TAIL == 1
@group(0) @binding(#) var<storage, read> tail: array<Input>;
#endif

#include row

// Values `i` to `i + 3` of a `row` of `length` values; zeros past its end.
fn x_row(row: Row, i: u32, length: u32) -> vec4<f32> {
#if VEC4 == 1
#if TAIL == 1
    if i >= row.z {
        return vec4<f32>(tail[(row.y + i) / 4u]);
    }
    return vec4<f32>(x[(row.x + i) / 4u]);
#else
    return vec4<f32>(x[(row + i) / 4u]);
#endif
#else
    var values = vec4<f32>(0.0);
    for (var j = 0u; j < min(length - i, 4u); j++) {
#if TAIL == 1
        if i + j >= row.z {
            values[j] = f32(tail[row.y + i + j]);
        } else {
            values[j] = f32(x[row.x + i + j]);
        }
#else
        values[j] = f32(x[row + i + j]);
#endif
    }
    return values;
#endif
}
