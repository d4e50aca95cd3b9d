// y[m, n] = activate(sum_k x[m, k] * weight[k, n] + bias[n]) + residual[m, n]; or, gated by its right half, half of that
//
// Two levels of tiles: a workgroup stages its part of x and of the unpacked weight in workgroup memory, and its invocations
// multiply from there into registers. The next tiles are on their way while the present ones are multiplied.
// x [rows, k], or with TAIL x [rows, k in x] and tail [rows, the other k]; weight [k, n4] groups of four columns; bias [n4]
// in vec4; residual and y [rows, n], the gated one [rows, n / 2].
// Dispatch: x over column tiles, y and z over row tiles.
// info: rows, k, n, n4, k in x.

#include storage
#include input
#include weight
#include epilogue
#include tile

// Terms `i` to `i + 3` of a row; past the last row, of that one.
fn x_of(row: u32, i: u32) -> vec4<f32> {
    return x_row(row_at(min(row, info[0] - 1u), info[1], info[4]), i, info[1]);
}

fn x_part(row: u32, i: u32) -> mat4x4<f32> {
    if i >= info[1] {
        return mat4x4<f32>();
    }
    return mat4x4<f32>(x_of(row, i), x_of(row + 1u, i), x_of(row + 2u, i), x_of(row + 3u, i));
}

// Rows `first + term` on, where `term` is in the tile.
fn weight_part(first: u32, term: u32, column4: u32) -> mat4x4<f32> {
    if term >= TILE_K {
        return mat4x4<f32>();
    }
    let n4 = info[3];
    let column = column_of(column4, n4);
    return weight_rows(first + term, column, n4, weight_scale(first + term, column, n4));
}

@compute @workgroup_size({{WG_X}})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
#if SIDE > 0
    @builtin(subgroup_id) subgroup: u32,
#endif
) {
    let local = vec2<u32>(index % {{WIDTH}}u, index / {{WIDTH}}u);
    let rows = info[0];
    let k = info[1];
    let n = info[2];
    let n4 = info[3];
    let first_row = (group.z * groups.y + group.y) * ROW_GROUPS * 4u;
    let first_column = group.x * COLUMN_GROUPS;
    if first_row >= rows {
        return;
    }
    let staged_row = first_row + staged_x_group(index) * 4u;
    let x_term = staged_x_term(index);
    let weight_column = first_column + staged_weight_group(index);
    let weight_term = staged_weight_term(index);
#if SIDE == 0
    var sums = Sums();
#endif
    var next_x = x_part(staged_row, x_term);
    var next_weight = weight_part(0u, weight_term, weight_column);
    for (var first = 0u; first < k; first += TILE_K) {
        stage(index, next_x, next_weight);
        workgroupBarrier();
        let next = first + TILE_K;
        if next < k {
            next_x = x_part(staged_row, next + x_term);
            next_weight = weight_part(next, weight_term, weight_column);
        }
#if SIDE == 0
        multiply_vectors(local, &sums);
#else
        multiply_matrices(subgroup);
#endif
        workgroupBarrier();
    }
#if SIDE > 0
    let sums = gathered_sums(subgroup, local);
#endif
#for g ROWS4
#for j 4
    let row_$g_$j = first_row + (local.y + $gu * {{HEIGHT}}u) * 4u + $ju;
    if row_$g_$j < rows {
#if ACTIVATION == 5
        let sums_$g_$j = array<vec4<f32>, {{COLUMNS}}>(
#for c COLUMNS
            sums.tile_$g_$c[$j],
#endfor
        );
#for p PAIRS
        let place_$g_$j_$p = first_column + local.x + 2u * $pu * {{WIDTH}}u;
        store_gated(row_$g_$j, place_$g_$j_$p, n, sums_$g_$j[2 * $p], sums_$g_$j[2 * $p + 1]);
#endfor
#else
#for c COLUMNS
        let column_$g_$j_$c = first_column + local.x + $cu * {{WIDTH}}u;
        if column_$g_$j_$c < n4 {
            store_row(row_$g_$j, column_$g_$j_$c, n, sums.tile_$g_$c[$j]);
        }
#endfor
#endif
    }
#endfor
#endfor
}
