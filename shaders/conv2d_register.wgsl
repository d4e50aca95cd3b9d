// Implicit-GEMM 2-D convolution over channels-last activations.
//
// y[b, p, o] = activate(sum x[b, src(p, tap), c] * weight[tap, c, o] + bias[o] + shift[o]) + residual[b, p, o]
// Register tiles without workgroup memory: an invocation owns SHARES * LANES output pixels and COLUMNS groups of four
// channels. With LANES > 1, so many neighbours of a subgroup own the same pixels; each reads what SHARES of them need and
// hands on what it read, as in linear_register.
// x [batch, h*w, c_in]; weight [kernel*kernel*c_in, o4] groups of four channels (of a packed one, each tap's channels
// are padded to a multiple of 32); bias [o4] in vec4;
// shift [calls, c_out], one row of it added before the activation (a residual block's time embedding);
// residual and y [batch, out_h*out_w, c_out]. Nearest-neighbour upsampling to seen_h x seen_w happens in the load.
// Dispatch: x over channel tiles, y and z over pixel tiles.
// info: batch, h, w, c_in, out_h, out_w, c_out, o4, kernel, stride, above, upsample, seen_h, seen_w, shift_row,
// left. `above` and `left` are zeros around the picture; negative rows above wrap, and leave out as many.

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
    let h = info[1];
    let w = info[2];
    let c_in = info[3];
    let out_w = info[5];
    let out_pixels = info[4] * out_w;
    let rows = info[0] * out_pixels;
    let c_out = info[6];
    let o4 = info[7];
    let kernel = info[8];
    let stride = info[9];
    let above = info[10];
    let left = info[15];
    let upsample = info[11];
    let seen_h = info[12];
    let seen_w = info[13];
    // Among the neighbours that share what they read.
#if LANES == 1
    let lane = 0u;
#else
    let lane = subgroup_place % {{LANES}}u;
#endif
    let first_row = ((group.z * groups.y + group.y) * {{HEIGHT}}u + place / {{WIDTH}}u) * {{SHARES}}u * {{LANES}}u;
    let first_column = (group.x * {{WIDTH}}u + place % {{WIDTH}}u) * {{COLUMNS}}u;
#if LANES == 1
    if first_row >= rows || first_column >= o4 {
        return;
    }
#endif
    // Past the edge, the last row or column is computed again and not stored.
#for c COLUMNS
    let column_$c = column_of(first_column + $cu, o4);
#endfor
#for s SHARES
    let row_$s = min(first_row + $su * {{LANES}}u + lane, rows - 1u);
    let image_$s = (row_$s / out_pixels) * h * w;
    let top_$s = ((row_$s % out_pixels) / out_w) * stride;
    let left_$s = (row_$s % out_w) * stride;
#for l LANES
#for c COLUMNS
    var sum_$s_$l_$c = vec4<f32>(0.0);
#endfor
#endfor
#endfor
    for (var ky = 0u; ky < kernel; ky++) {
        for (var kx = 0u; kx < kernel; kx++) {
            // Unsigned: a position left of or above the picture wraps to a huge one and fails the bound too.
#for s SHARES
            let sy_$s = top_$s + ky - above;
            let sx_$s = left_$s + kx - left;
            let inside_$s = sy_$s < seen_h && sx_$s < seen_w;
            let x_$s = select(0u, (image_$s + (sy_$s / upsample) * w + sx_$s / upsample) * c_in, inside_$s);
#endfor
            let tap = (ky * kernel + kx) * tap_rows(c_in);
            for (var block = 0u; block < c_in; block += 32u) {
#for c COLUMNS
                let scale_$c = weight_scale(tap + block, column_$c, o4);
#endfor
                let end = min(block + 32u, c_in);
                for (var i = block; i < end; i += 4u) {
#for c COLUMNS
                    let w_$c = weight_rows(tap + i, column_$c, o4, scale_$c);
#endfor
#for s SHARES
                    let read_$s = select(vec4<f32>(0.0), x_row(x_$s, i, c_in), inside_$s);
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
        }
    }
#for c COLUMNS
#if SHIFT == 1
    let shift_$c = shift_of(column_$c);
#endif
#endfor
#for s SHARES
#for l LANES
    if first_row + $su * {{LANES}}u + $lu < rows {
#for c COLUMNS
        if first_column + $cu < o4 {
#if SHIFT == 1
            let total = sum_$s_$l_$c + shift_$c;
#else
            let total = sum_$s_$l_$c;
#endif
            store_row(first_row + $su * {{LANES}}u + $lu, column_$c, c_out, total);
        }
#endfor
    }
#endfor
#endfor
}
