// What follows a matrix product: bias, activation and residual of four neighbouring columns of one row, and the buffers
// for that. Convolutions may add a row of a matrix [calls, c_out] before the activation.
//
// RESIDUAL 1: a buffer beside y; 2: what y holds. ACTIVATION 5: GEGLU, which makes one column of two that are half the
// columns apart, the value and its gate. One invocation owns both: of the places that groups of columns have in the
// dispatch, GATE_APART ones are values, as many after them their gates.

#if BIAS == 1
@group(0) @binding(#) var<storage, read> bias: array<vec4<f32>>;
#endif
#if SHIFT == 1
@group(0) @binding(#) var<storage, read> shift: array<f32>;
#endif
#if RESIDUAL == 1
@group(0) @binding(#) var<storage, read> residual: array<Stored>;
#endif
@group(0) @binding(#) var<storage, read_write> y: array<Stored>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

#include activation

// Row info[14] of the matrix, whose c_out is info[6].
#if SHIFT == 1
fn shift_of(column4: u32) -> vec4<f32> {
    let c_out = info[6];
    let first = info[14] * c_out;
    var value = vec4<f32>(0.0);
    let count = min(c_out - column4 * 4u, 4u);
    for (var i = 0u; i < count; i++) {
        value[i] = shift[first + column4 * 4u + i];
    }
    return value;
}
#endif

#if ACTIVATION == 5
// Which value a place is of, gates as their values.
fn pair_of(place: u32) -> u32 {
    return place / (2u * {{GATE_APART}}u) * {{GATE_APART}}u + place % {{GATE_APART}}u;
}

// The columns at a place; past the last pair, those of that one.
fn column_of(place: u32, n4: u32) -> u32 {
    let is_gate = place / {{GATE_APART}}u % 2u;
    return min(pair_of(place), n4 / 2u - 1u) + is_gate * (n4 / 2u);
}

// `place` is the value's; n, a multiple of eight, counts values and gates.
fn store_gated(row: u32, place: u32, n: u32, sum: vec4<f32>, gate_sum: vec4<f32>) {
    let pair = pair_of(place);
    if pair >= n / 8u {
        return;
    }
#if BIAS == 1
    let value = (sum + bias[pair]) * gelu4(gate_sum + bias[pair + n / 8u]);
#else
    let value = sum * gelu4(gate_sum);
#endif
    let first = row * (n / 2u) + pair * 4u;
#for j 4
    y[first + $ju] = Stored(value[$j]);
#endfor
}
#else
// The columns at a place; past the last ones, those.
fn column_of(place: u32, n4: u32) -> u32 {
    return min(place, n4 - 1u);
}

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
        y[first + $ju] = Stored(value[$j] + f32(residual[first + $ju]));
#elif RESIDUAL == 2
        y[first + $ju] = Stored(f32(y[first + $ju]) + value[$j]);
#else
        y[first + $ju] = Stored(value[$j]);
#endif
    }
#endfor
}
#endif
