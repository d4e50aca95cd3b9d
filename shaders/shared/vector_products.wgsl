// Staged tiles of vectors, which every invocation multiplies for itself. F16: sums over one tile are in f16, too.

// Invocations that stage x take neighbouring terms of one row: an odd stride spreads them over the memory's banks.
const ROW_STRIDE = ROW_GROUPS + 1u;

var<workgroup> x_tile: array<vec4<Value>, TILE_K * ROW_STRIDE>;
var<workgroup> weight_tile: array<vec4<Value>, TILE_K * COLUMN_GROUPS>;

// `x_part`: a column for each row; `weight_part`: a column for each term. Where a tile has fewer parts than the workgroup
// has invocations, the last ones have nothing to stage.
fn stage(index: u32, x_part: mat4x4<f32>, weight_part: mat4x4<f32>) {
    let group = staged_x_group(index);
    if group < ROW_GROUPS {
        let at = staged_x_term(index) * ROW_STRIDE + group;
        let terms = transpose(x_part);
        x_tile[at] = vec4<Value>(terms[0]);
        x_tile[at + ROW_STRIDE] = vec4<Value>(terms[1]);
        x_tile[at + 2u * ROW_STRIDE] = vec4<Value>(terms[2]);
        x_tile[at + 3u * ROW_STRIDE] = vec4<Value>(terms[3]);
    }
    let term = staged_weight_term(index);
    if term < TILE_K {
        let at = term * COLUMN_GROUPS + staged_weight_group(index);
        weight_tile[at] = vec4<Value>(weight_part[0]);
        weight_tile[at + COLUMN_GROUPS] = vec4<Value>(weight_part[1]);
        weight_tile[at + 2u * COLUMN_GROUPS] = vec4<Value>(weight_part[2]);
        weight_tile[at + 3u * COLUMN_GROUPS] = vec4<Value>(weight_part[3]);
    }
}

fn outer(x: vec4<Value>, weight: vec4<Value>) -> mat4x4<Value> {
    return mat4x4<Value>(x.x * weight, x.y * weight, x.z * weight, x.w * weight);
}

#if F16 == 1
fn widened(part: mat4x4<f16>) -> mat4x4<f32> {
    return mat4x4<f32>(vec4<f32>(part[0]), vec4<f32>(part[1]), vec4<f32>(part[2]), vec4<f32>(part[3]));
}
#endif

// Adds the product of the staged tiles.
fn multiply_vectors(local: vec2<u32>, sums: ptr<function, Sums>) {
#for g ROWS4
#for c COLUMNS
#if F16 == 1
    var part_$g_$c = mat4x4<f16>();
#else
    var part_$g_$c = (*sums).tile_$g_$c;
#endif
#endfor
#endfor
    for (var term = 0u; term < TILE_K; term++) {
#for g ROWS4
        let x_$g = x_tile[term * ROW_STRIDE + local.y + $gu * {{HEIGHT}}u];
#endfor
#for c COLUMNS
        let weight_$c = weight_tile[term * COLUMN_GROUPS + local.x + $cu * {{WIDTH}}u];
#endfor
#for g ROWS4
#for c COLUMNS
        part_$g_$c += outer(x_$g, weight_$c);
#endfor
#endfor
    }
#for g ROWS4
#for c COLUMNS
#if F16 == 1
    (*sums).tile_$g_$c += widened(part_$g_$c);
#else
    (*sums).tile_$g_$c = part_$g_$c;
#endif
#endfor
#endfor
}
