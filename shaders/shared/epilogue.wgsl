// What follows a matrix product: bias, activation and residual of four neighbouring columns of one row, and the buffers
// for that. Convolutions may add a row of a matrix [calls, c_out] before the activation.

#if BIAS == 1
@group(0) @binding(#) var<storage, read> bias: array<vec4<f32>>;
#endif
#if SHIFT == 1
@group(0) @binding(#) var<storage, read> shift: array<f32>;
#endif
#if RESIDUAL == 1
@group(0) @binding(#) var<storage, read> residual: array<f32>;
#endif
@group(0) @binding(#) var<storage, read_write> y: array<f32>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

#include activation

// Row info[14] of the matrix, whose c_out is info[6].
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

fn store_row(row: u32, column4: u32, n: u32, sum: vec4<f32>) {
#if BIAS == 1
    let value = activate(sum + bias[column4]);
#else
    let value = activate(sum);
#endif
    let first = row * n + column4 * 4u;
#for j 4
    if column4 * 4u + $ju < n {
#if RESIDUAL == 1
        y[first + $ju] = value[$j] + residual[first + $ju];
#else
        y[first + $ju] = value[$j];
#endif
    }
#endfor
}
