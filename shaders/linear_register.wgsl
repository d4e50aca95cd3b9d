// y[m, n] = activate(sum_k x[m, k] * weight[k, n] + bias[n]) + residual[m, n]; or, gated by its right half, half of that
//
// Register tiles without workgroup memory: an invocation owns ROWS rows and COLUMNS groups of four columns.
// x [rows, k]; weight [k, n4] groups of four columns; bias [n4] in vec4; residual and y [rows, n],
// the gated one [rows, n / 2].
// Dispatch: x over column tiles, y and z over row tiles.
// info: rows, k, n, n4.

#include storage
#include input
#include weight
#include epilogue

@compute @workgroup_size({{WG_X}}, {{WG_Y}})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let rows = info[0];
    let k = info[1];
    let n = info[2];
    let n4 = info[3];
    let first_row = (id.z * groups.y * {{WG_Y}}u + id.y) * {{ROWS}}u;
    let first_column = id.x * {{COLUMNS}}u;
    if first_row >= rows || first_column >= n4 {
        return;
    }
    // Past the edge, the last row or column is computed again and not stored.
#for c COLUMNS
    let column_$c = column_of(first_column + $cu, n4);
#endfor
#for r ROWS
    let x_$r = min(first_row + $ru, rows - 1u) * k;
#for c COLUMNS
    var sum_$r_$c = vec4<f32>(0.0);
#endfor
#endfor
    for (var block = 0u; block < k; block += 32u) {
#for c COLUMNS
        let scale_$c = weight_scale(block, column_$c, n4);
#endfor
        let end = min(block + 32u, k);
        for (var i = block; i < end; i += 4u) {
#for c COLUMNS
            let w_$c = weight_rows(i, column_$c, n4, scale_$c);
#endfor
#for r ROWS
            let v_$r = x_row(x_$r, i, k);
#for c COLUMNS
            sum_$r_$c += w_$c * v_$r;
#endfor
#endfor
        }
    }
#for r ROWS
    if first_row + $ru < rows {
#if ACTIVATION == 5
        let sums_$r = array<vec4<f32>, {{COLUMNS}}>(
#for c COLUMNS
            sum_$r_$c,
#endfor
        );
#for p PAIRS
        store_gated(first_row + $ru, first_column + 2u * $pu, n, sums_$r[2 * $p], sums_$r[2 * $p + 1]);
#endfor
#else
#for c COLUMNS
        if first_column + $cu < n4 {
            store_row(first_row + $ru, column_$c, n, sum_$r_$c);
        }
#endfor
#endif
    }
#endfor
}
