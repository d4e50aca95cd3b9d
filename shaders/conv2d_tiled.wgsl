// Implicit-GEMM 2-D convolution over channels-last activations.
//
// y[b, p, o] = activate(sum x[b, src(p, tap), c] * weight[tap, c, o] + bias[o] + shift[o]) + residual[b, p, o]
// Two levels of tiles as in linear_tiled; the part of x is gathered from the picture as it is staged, padding and
// nearest-neighbour upsampling to seen_h x seen_w included.
// x [batch, h*w, c_in]; weight [kernel*kernel*c_in, o4] groups of four channels (of a packed one, each tap's channels
// are padded to a multiple of 32); bias [o4] in vec4;
// shift [calls, c_out], one row of it added before the activation (a residual block's time embedding);
// residual and y [batch, out_h*out_w, c_out].
// Dispatch: x over channel tiles, y and z over pixel tiles.
// info: batch, h, w, c_in, out_h, out_w, c_out, o4, kernel, stride, above, upsample, seen_h, seen_w, shift_row,
// left. `above` and `left` are zeros around the picture; negative rows above wrap, and leave out as many.

#include storage
#include input
#include weight
#include epilogue
#include tile

// Where the first tap of an output pixel reads: the first value of its picture, and unsigned positions that wrap to huge
// ones left of and above it.
struct Pixel {
    image: u32,
    top: u32,
    left: u32,
}

// Past the last row, the pixel of that one.
fn pixel_of(row: u32) -> Pixel {
    let out_w = info[5];
    let out_pixels = info[4] * out_w;
    let at = min(row, info[0] * out_pixels - 1u);
    let stride = info[9];
    return Pixel(
        at / out_pixels * info[1] * info[2],
        at % out_pixels / out_w * stride - info[10],
        at % out_w * stride - info[15],
    );
}

// Terms of a sum: channels from `i` on of one tap.
struct Terms {
    ky: u32,
    kx: u32,
    i: u32,
}

fn terms_after(terms: Terms) -> Terms {
    if terms.i + TILE_K < info[3] {
        return Terms(terms.ky, terms.kx, terms.i + TILE_K);
    }
    if terms.kx + 1u < info[8] {
        return Terms(terms.ky, terms.kx + 1u, 0u);
    }
    return Terms(terms.ky + 1u, 0u, 0u);
}

// Channels `i` to `i + 3` under a tap; zeros outside of the picture.
fn x_of(pixel: Pixel, terms: Terms, i: u32) -> vec4<f32> {
    let row = pixel.top + terms.ky;
    let column = pixel.left + terms.kx;
    if row >= info[12] || column >= info[13] {
        return vec4<f32>(0.0);
    }
    let upsample = info[11];
    return x_row((pixel.image + row / upsample * info[2] + column / upsample) * info[3], i, info[3]);
}

fn x_part(pixels: array<Pixel, 4>, terms: Terms, term: u32) -> mat4x4<f32> {
    let i = terms.i + term;
    if i >= info[3] {
        return mat4x4<f32>();
    }
    return mat4x4<f32>(
        x_of(pixels[0], terms, i),
        x_of(pixels[1], terms, i),
        x_of(pixels[2], terms, i),
        x_of(pixels[3], terms, i),
    );
}

// Channels `terms.i + term` on, where `term` is in the tile.
fn weight_part(terms: Terms, term: u32, column4: u32) -> mat4x4<f32> {
    if term >= TILE_K {
        return mat4x4<f32>();
    }
    let o4 = info[7];
    let column = column_of(column4, o4);
    let row = (terms.ky * info[8] + terms.kx) * tap_rows(info[3]) + terms.i + term;
    return weight_rows(row, column, o4, weight_scale(row, column, o4));
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
    let rows = info[0] * info[4] * info[5];
    let c_out = info[6];
    let o4 = info[7];
    let kernel = info[8];
    let first_row = (group.z * groups.y + group.y) * ROW_GROUPS * 4u;
    let first_column = group.x * COLUMN_GROUPS;
    if first_row >= rows {
        return;
    }
    let staged_row = first_row + staged_x_group(index) * 4u;
    let x_term = staged_x_term(index);
    let pixels = array<Pixel, 4>(
        pixel_of(staged_row),
        pixel_of(staged_row + 1u),
        pixel_of(staged_row + 2u),
        pixel_of(staged_row + 3u),
    );
    let weight_column = first_column + staged_weight_group(index);
    let weight_term = staged_weight_term(index);
#if SIDE == 0
    var sums = Sums();
#endif
    var terms = Terms(0u, 0u, 0u);
    var next_x = x_part(pixels, terms, x_term);
    var next_weight = weight_part(terms, weight_term, weight_column);
    while terms.ky < kernel {
        stage(index, next_x, next_weight);
        workgroupBarrier();
        terms = terms_after(terms);
        if terms.ky < kernel {
            next_x = x_part(pixels, terms, x_term);
            next_weight = weight_part(terms, weight_term, weight_column);
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
#for c COLUMNS
        let column_$g_$j_$c = first_column + local.x + $cu * {{WIDTH}}u;
        if column_$g_$j_$c < o4 {
#if SHIFT == 1
            store_row(row_$g_$j, column_$g_$j_$c, c_out, sums.tile_$g_$c[$j] + shift_of(column_$g_$j_$c));
#else
            store_row(row_$g_$j, column_$g_$j_$c, c_out, sums.tile_$g_$c[$j]);
#endif
        }
#endfor
    }
#endfor
#endfor
}
