// Staged tiles of f16, which subgroups multiply by cooperative matrices of SIDE x SIDE with sums in f32. Of each quarter of
// the tile, HEIGHT groups of rows by WIDTH groups of columns, a subgroup computes MATRIX_ROWS x MATRIX_COLUMNS matrices.

alias Left = coop_mat{{SIDE}}x{{SIDE}}<f16, A>;
alias Right = coop_mat{{SIDE}}x{{SIDE}}<f16, B>;
alias Product = coop_mat{{SIDE}}x{{SIDE}}<f32, C>;

// Rows that matrices are read from begin at multiples of 16 bytes, and padded ones lie in different banks.
const X_STRIDE = TILE_K + {{X_PADDING}}u;
const WEIGHT_STRIDE = COLUMN_GROUPS * 4u + 8u;
const QUARTER_ROWS = {{HEIGHT}}u * 4u;
const QUARTER_COLUMNS = {{WIDTH}}u * 4u;

var<workgroup> x_tile: array<f16, ROW_GROUPS * 4u * X_STRIDE>;
var<workgroup> weight_tile: array<f16, TILE_K * WEIGHT_STRIDE>;
var<workgroup> quarter: array<f32, QUARTER_ROWS * QUARTER_COLUMNS>;

#for g ROWS4
#for c COLUMNS
#for i MATRIX_ROWS
#for j MATRIX_COLUMNS
var<private> product_$g_$c_$i_$j: Product;
#endfor
#endfor
#endfor
#endfor

// Where the matrices of a subgroup begin in a quarter.
fn matrix_row(subgroup: u32) -> u32 {
    return subgroup * {{SIDE}}u * {{MATRIX_COLUMNS}}u / QUARTER_COLUMNS * {{SIDE}}u * {{MATRIX_ROWS}}u;
}

fn matrix_column(subgroup: u32) -> u32 {
    return subgroup * {{SIDE}}u * {{MATRIX_COLUMNS}}u % QUARTER_COLUMNS;
}

// `x_part`: a column for each row; `weight_part`: a column for each term.
fn stage(index: u32, x_part: mat4x4<f32>, weight_part: mat4x4<f32>) {
    let x_at = staged_x_group(index) * 4u * X_STRIDE + staged_x_term(index);
#for j 4
#for i 4
    x_tile[x_at + $ju * X_STRIDE + $iu] = f16(x_part[$j][$i]);
#endfor
#endfor
    let term = staged_weight_term(index);
    if term < TILE_K {
        let at = term * WEIGHT_STRIDE + staged_weight_group(index) * 4u;
#for j 4
#for i 4
        weight_tile[at + $ju * WEIGHT_STRIDE + $iu] = f16(weight_part[$j][$i]);
#endfor
#endfor
    }
}

// Adds the product of the staged tiles.
fn multiply_matrices(subgroup: u32) {
    let row = matrix_row(subgroup);
    let column = matrix_column(subgroup);
    for (var term = 0u; term < TILE_K; term += {{SIDE}}u) {
#for g ROWS4
#for i MATRIX_ROWS
        let x_row_$g_$i = $gu * QUARTER_ROWS + row + $iu * {{SIDE}}u;
        let x_$g_$i = coopLoadT<Left>(&x_tile[x_row_$g_$i * X_STRIDE + term], X_STRIDE);
#endfor
#endfor
#for c COLUMNS
#for j MATRIX_COLUMNS
        let column_$c_$j = $cu * QUARTER_COLUMNS + column + $ju * {{SIDE}}u;
        let weight_$c_$j = coopLoadT<Right>(&weight_tile[term * WEIGHT_STRIDE + column_$c_$j], WEIGHT_STRIDE);
#for g ROWS4
#for i MATRIX_ROWS
        product_$g_$c_$i_$j = coopMultiplyAdd(x_$g_$i, weight_$c_$j, product_$g_$c_$i_$j);
#endfor
#endfor
#endfor
#endfor
    }
}

// The sums of each invocation's rows and columns. Quarters are handed over one at a time, in memory that all have.
fn gathered_sums(subgroup: u32, local: vec2<u32>) -> Sums {
    let matrix = matrix_row(subgroup) * QUARTER_COLUMNS + matrix_column(subgroup);
    let own = local.y * 4u * QUARTER_COLUMNS + local.x * 4u;
    var sums = Sums();
#for g ROWS4
#for c COLUMNS
#for i MATRIX_ROWS
#for j MATRIX_COLUMNS
    coopStoreT(
        product_$g_$c_$i_$j,
        &quarter[matrix + $iu * {{SIDE}}u * QUARTER_COLUMNS + $ju * {{SIDE}}u],
        QUARTER_COLUMNS,
    );
#endfor
#endfor
    workgroupBarrier();
#for j 4
    sums.tile_$g_$c[$j] = vec4<f32>(
#for i 4
        quarter[own + $ju * QUARTER_COLUMNS + $iu],
#endfor
    );
#endfor
    workgroupBarrier();
#endfor
#endfor
    return sums;
}
