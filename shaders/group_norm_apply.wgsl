// y = activate((x - mean) * scale + bias), by the statistics of group_norm_statistics. IN_PLACE: y holds x.
//
// x [batch, pixels, channels] in Lanes, the last of which may be in tail; y as many from a Lane on;
// statistics [batch, 2, channels], mean and scale; bias [channels].
// Dispatch: one invocation a Lane, folded over x and y.
// info: Lanes of an image, Lanes of a pixel, Lanes in all, invocations a row of the dispatch, the first Lane
// of y, Lanes of a pixel in x.

#include storage
#include lanes

@group(0) @binding(#) var<storage, read> statistics: array<Lane>;
@group(0) @binding(#) var<storage, read> bias: array<Lane>;
@group(0) @binding(#) var<storage, read_write> y: array<StoredLane>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

#include activation

@compute @workgroup_size({{WG_X}})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let image = info[0];
    let channels = info[1];
    let at = id.y * info[3] + id.x;
    if at >= info[2] {
        return;
    }
    let c = at % channels;
    let s = (at / image) * 2u * channels + c;
#if IN_PLACE == 1
    let given = Lane(y[at]);
#else
    let given = x_lane(row_at(at / channels, channels, info[5]), c);
#endif
    let value = (given - statistics[s]) * statistics[s + channels] + bias[c];
#if LANE == 4
    y[info[4] + at] = StoredLane(activate(value));
#else
    y[info[4] + at] = StoredLane(activate(vec4<f32>(value)).x);
#endif
}
