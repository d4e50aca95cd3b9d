// Tiles of a matrix product in workgroup memory. A workgroup of WIDTH x HEIGHT invocations computes ROW_GROUPS groups of four
// rows by COLUMN_GROUPS groups of four columns, TILE_K terms of the sums at a time; an invocation owns ROWS4 groups of rows
// and COLUMNS groups of columns, HEIGHT and WIDTH apart, so that neighbours read neighbouring vectors.
//
// F16: tiles are in f16, sums over tiles in f32.

#if F16 == 1
alias Value = f16;
#else
alias Value = f32;
#endif

const ROW_GROUPS = {{HEIGHT}}u * {{ROWS4}}u;
const COLUMN_GROUPS = {{WIDTH}}u * {{COLUMNS}}u;
const TILE_K = {{TILE_K}}u;

// What an invocation stages: four terms of four rows of x, and four terms of four columns of the weight.
fn staged_x_term(index: u32) -> u32 {
    return index % (TILE_K / 4u) * 4u;
}

fn staged_x_group(index: u32) -> u32 {
    return index / (TILE_K / 4u);
}

fn staged_weight_term(index: u32) -> u32 {
    return index / COLUMN_GROUPS * 4u;
}

fn staged_weight_group(index: u32) -> u32 {
    return index % COLUMN_GROUPS;
}

// Sums of four rows, a column of the matrix each, by four columns.
struct Sums {
#for g ROWS4
#for c COLUMNS
    tile_$g_$c: mat4x4<f32>,
#endfor
#endfor
}

#if SIDE == 0
#include vector_products
#else
#include matrix_products
#endif
