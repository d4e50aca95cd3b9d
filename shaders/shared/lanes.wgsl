// Channels of activations, a LANE of them at a time. TAIL: see row; then x and tail have whole Lanes of a row.

#if LANE == 4
alias Lane = vec4<f32>;
alias StoredLane = vec4<Stored>;
#elif LANE == 2
alias Lane = vec2<f32>;
alias StoredLane = vec2<Stored>;
#else
alias Lane = f32;
alias StoredLane = Stored;
#endif

#if IN_PLACE == 0
@group(0) @binding(#) var<storage, read> x: array<StoredLane>;
#if TAIL == 1
@group(0) @binding(#) var<storage, read> tail: array<StoredLane>;
#endif

#include row

fn x_lane(row: Row, c: u32) -> Lane {
#if TAIL == 1
    if c >= row.z {
        return Lane(tail[row.y + c]);
    }
    return Lane(x[row.x + c]);
#else
    return Lane(x[row + c]);
#endif
}
#endif
