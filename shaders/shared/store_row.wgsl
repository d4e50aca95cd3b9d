// Epilogue of a matrix product: bias, activation and residual of four neighbouring columns of one row.

fn store_row(row: u32, column4: u32, n: u32, sum: vec4<f32>) {
#if BIAS == 1
    let value = activate(sum + bias[column4]);
#else
    let value = activate(sum);
#endif
    let first = row * n + column4 * 4u;
    let count = min(n - column4 * 4u, 4u);
    for (var i = 0u; i < count; i++) {
#if RESIDUAL == 1
        y[first + i] = value[i] + residual[first + i];
#else
        y[first + i] = value[i];
#endif
    }
}
