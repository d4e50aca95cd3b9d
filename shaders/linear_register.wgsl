// y[m, n] = activate(sum_k x[m, k] * weight[k, n] + bias[n]) + residual[m, n]; or, gated by its right half, half of that
//
// Register tiles without workgroup memory: an invocation owns SHARES * LANES rows and COLUMNS groups of four columns. With
// LANES > 1, so many neighbours of a subgroup own the same rows; each reads SHARES of them and hands on what it read. That
// takes a workgroup of one dimension, whose subgroups are runs of invocations.
// x [rows, k], or with TAIL x [rows, k in x] and tail [rows, the other k]; weight [k, n4] groups of four columns; bias [n4]
// in vec4; residual and y [rows, n], the gated one [rows, n / 2].
// Dispatch: x over column tiles, y and z over row tiles.
// info: rows, k, n, n4, k in x.

#if SUBGROUPS == 1
enable subgroups;
#endif
#include storage
#include input
#include weight
#include epilogue

@compute @workgroup_size({{WG_X}})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) place: u32,
#if LANES > 1
    @builtin(subgroup_invocation_id) subgroup_place: u32,
#endif
) {
    let rows = info[0];
    let k = info[1];
    let n = info[2];
    let n4 = info[3];
    // Among the neighbours that share what they read.
#if LANES == 1
    let lane = 0u;
#else
    let lane = subgroup_place % {{LANES}}u;
#endif
    let first_row = ((group.z * groups.y + group.y) * {{HEIGHT}}u + place / {{WIDTH}}u) * {{SHARES}}u * {{LANES}}u;
    let first_column = (group.x * {{WIDTH}}u + place % {{WIDTH}}u) * {{COLUMNS}}u;
#if LANES == 1
    if first_row >= rows || first_column >= n4 {
        return;
    }
#endif
    // Past the edge, the last row or column is computed again and not stored.
#for c COLUMNS
    let column_$c = column_of(first_column + $cu, n4);
#endfor
#for s SHARES
    let x_$s = row_at(min(first_row + $su * {{LANES}}u + lane, rows - 1u), k, info[4]);
#for l LANES
#for c COLUMNS
    var sum_$s_$l_$c = vec4<f32>(0.0);
#endfor
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
#for s SHARES
            let read_$s = x_row(x_$s, i, k);
#for l LANES
#if LANES == 1
            let v_$s_$l = read_$s;
#elif LANES == 4
            let v_$s_$l = quadBroadcast(read_$s, $lu);
#else
            let v_$s_$l = subgroupShuffle(read_$s, subgroup_place - lane + $lu);
#endif
#for c COLUMNS
            sum_$s_$l_$c += w_$c * v_$s_$l;
#endfor
#endfor
#endfor
        }
    }
#for s SHARES
#for l LANES
    if first_row + $su * {{LANES}}u + $lu < rows {
        let row = first_row + $su * {{LANES}}u + $lu;
#if ACTIVATION == 5
        let sums = array<vec4<f32>, {{COLUMNS}}>(
#for c COLUMNS
            sum_$s_$l_$c,
#endfor
        );
#for p PAIRS
        store_gated(row, first_column + 2u * $pu, n, sums[2 * $p], sums[2 * $p + 1]);
#endfor
#else
#for c COLUMNS
        if first_column + $cu < n4 {
            store_row(row, column_$c, n, sum_$s_$l_$c);
        }
#endfor
#endif
    }
#endfor
#endfor
}
