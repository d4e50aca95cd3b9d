// Implicit-GEMM 2-D convolution over channels-last activations.
//
// y[b, p, o] = activate(sum x[b, src(p, tap), c] * weight[tap, c, o] + bias[o] + shift[o]) + residual[b, p, o]
// Register tiles without workgroup memory: an invocation owns ROWS output pixels and COLUMNS groups of four channels.
// x [batch, h*w, c_in]; weight [kernel*kernel*c_in, o4] groups of four channels (of a packed one, each tap's channels
// are padded to a multiple of 32); bias [o4] in vec4;
// shift [calls, c_out], one row of it added before the activation (a residual block's time embedding);
// residual and y [batch, out_h*out_w, c_out]. Nearest-neighbour upsampling to seen_h x seen_w happens in the load.
// Dispatch: x over channel tiles, y and z over pixel tiles.
// info: batch, h, w, c_in, out_h, out_w, c_out, o4, kernel, stride, above, upsample, seen_h, seen_w, shift_row,
// left. `above` and `left` are zeros around the picture; negative rows above wrap, and leave out as many.

#include storage
#include input
#include weight
#include epilogue

@compute @workgroup_size({{WG_X}}, {{WG_Y}})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
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
    let first_row = (id.z * groups.y * {{WG_Y}}u + id.y) * {{ROWS}}u;
    let first_column = id.x * {{COLUMNS}}u;
    if first_row >= rows || first_column >= o4 {
        return;
    }
    // Past the edge, the last row or column is computed again and not stored.
#for c COLUMNS
    let column_$c = column_of(first_column + $cu, o4);
#endfor
#for r ROWS
    let row_$r = min(first_row + $ru, rows - 1u);
    let image_$r = (row_$r / out_pixels) * h * w;
    let top_$r = ((row_$r % out_pixels) / out_w) * stride;
    let left_$r = (row_$r % out_w) * stride;
#for c COLUMNS
    var sum_$r_$c = vec4<f32>(0.0);
#endfor
#endfor
    for (var ky = 0u; ky < kernel; ky++) {
        for (var kx = 0u; kx < kernel; kx++) {
            // Unsigned: a position left of or above the picture wraps to a huge one and fails the bound too.
#for r ROWS
            let sy_$r = top_$r + ky - above;
            let sx_$r = left_$r + kx - left;
            let inside_$r = sy_$r < seen_h && sx_$r < seen_w;
            let x_$r = select(0u, (image_$r + (sy_$r / upsample) * w + sx_$r / upsample) * c_in, inside_$r);
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
#for r ROWS
                    let v_$r = select(vec4<f32>(0.0), x_row(x_$r, i, c_in), inside_$r);
#for c COLUMNS
                    sum_$r_$c += w_$c * v_$r;
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
#for r ROWS
    if first_row + $ru < rows {
#for c COLUMNS
        if first_column + $cu < o4 {
#if SHIFT == 1
            store_row(row_$r, column_$c, c_out, sum_$r_$c + shift_$c);
#else
            store_row(row_$r, column_$c, c_out, sum_$r_$c);
#endif
        }
#endfor
    }
#endfor
}
