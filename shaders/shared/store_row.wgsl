// Epilogue of a matrix product: bias, activation and residual of four neighbouring columns of one row.

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
