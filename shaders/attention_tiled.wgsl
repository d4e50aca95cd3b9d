// y[b, i, h] = sum_j softmax_j(scale * q[b, i, h] . k[b, j, h]) * v[b, j, h]
//
// A workgroup owns QUERIES queries of one head, which share tiles of 4 * FOURS keys and then values in workgroup memory;
// SPLIT invocations share a query, each OWN of the head's lanes. The softmax runs over the keys (arXiv:1805.02867), so no
// score matrix exists.
// q, y [batch, queries, heads*d]; k, v [batch, keys, heads*d]; d = SPLIT * OWN * (size of Lane).
// Dispatch: x over groups of queries, y over heads, z over the batch.
// info: queries, keys, heads, scale (bits of an f32).

@group(0) @binding(#) var<storage, read> q: array<Lane>;
@group(0) @binding(#) var<storage, read> k: array<Lane>;
@group(0) @binding(#) var<storage, read> v: array<Lane>;
@group(0) @binding(#) var<storage, read_write> y: array<Lane>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

#include attention_lane

const LANES = {{SPLIT}}u * {{OWN}}u;
const TILE = {{FOURS}}u * 4u;
const SIZE = {{QUERIES}}u * {{SPLIT}}u;

// Keys, then values, of a tile.
var<workgroup> tile: array<Lane, TILE * LANES>;
#if SPLIT > 1
// What each invocation has of the scores of its query.
var<workgroup> parts: array<vec4<f32>, {{FOURS}}u * SIZE>;
#endif

@compute @workgroup_size({{WG_X}})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let queries = info[0];
    let keys = info[1];
    let stride = info[2] * LANES;
    let scale = bitcast<f32>(info[3]);
    let first = group.x * {{QUERIES}}u;
    let own = first + local / {{SPLIT}}u;
    let part = local % {{SPLIT}}u;
    // Past the edge, the last query is computed again and not stored.
    let i = min(own, queries - 1u);
    let at = (group.z * queries + i) * stride + group.y * LANES + part;
    let head = group.z * keys * stride + group.y * LANES;
#for l OWN
    let query_$l = q[at + $lu * {{SPLIT}}u] * scale;
    var sum_$l = Lane();
#endfor
    var largest = LOWEST;
    var total = 0.0;
#if CAUSAL == 1
    let seen = min(i + 1u, keys);
    let end = min(keys, first + {{QUERIES}}u);
#else
    let seen = keys;
    let end = keys;
#endif
    for (var j = 0u; j < end; j += TILE) {
        for (var e = local; e < TILE * LANES; e += SIZE) {
            // Past the last key, it is read again and its score ruled out.
            tile[e] = k[head + min(j + e / LANES, keys - 1u) * stride + e % LANES];
        }
        workgroupBarrier();
#for f FOURS
        var score_$f = vec4<f32>(0.0);
#for l OWN
        score_$f += products(
            query_$l,
            tile[($fu * 4u + 0u) * LANES + $lu * {{SPLIT}}u + part],
            tile[($fu * 4u + 1u) * LANES + $lu * {{SPLIT}}u + part],
            tile[($fu * 4u + 2u) * LANES + $lu * {{SPLIT}}u + part],
            tile[($fu * 4u + 3u) * LANES + $lu * {{SPLIT}}u + part],
        );
#endfor
#if SPLIT > 1
        parts[$fu * SIZE + local] = score_$f;
#endif
#endfor
        workgroupBarrier();
        for (var e = local; e < TILE * LANES; e += SIZE) {
            tile[e] = v[head + min(j + e / LANES, keys - 1u) * stride + e % LANES];
        }
#for f FOURS
#if SPLIT > 1
        score_$f = vec4<f32>(0.0);
        for (var s = 0u; s < {{SPLIT}}u; s++) {
            score_$f += parts[$fu * SIZE + local - part + s];
        }
#endif
        let place_$f = j + $fu * 4u + vec4<u32>(0u, 1u, 2u, 3u);
        score_$f = select(vec4<f32>(LOWEST), score_$f, place_$f < vec4<u32>(seen));
#endfor
        var larger = largest;
#for f FOURS
        larger = max(larger, max4(score_$f));
#endfor
        let shrink = exp(largest - larger);
        largest = larger;
        total *= shrink;
#for l OWN
        sum_$l *= shrink;
#endfor
        workgroupBarrier();
#for f FOURS
        let weight_$f = exp(score_$f - largest);
        total += weight_$f.x + weight_$f.y + weight_$f.z + weight_$f.w;
#for l OWN
        sum_$l += weight_$f.x * tile[($fu * 4u + 0u) * LANES + $lu * {{SPLIT}}u + part]
            + weight_$f.y * tile[($fu * 4u + 1u) * LANES + $lu * {{SPLIT}}u + part]
            + weight_$f.z * tile[($fu * 4u + 2u) * LANES + $lu * {{SPLIT}}u + part]
            + weight_$f.w * tile[($fu * 4u + 3u) * LANES + $lu * {{SPLIT}}u + part];
#endfor
#endfor
        workgroupBarrier();
    }
    if own < queries {
#for l OWN
        y[at + $lu * {{SPLIT}}u] = sum_$l / total;
#endfor
    }
}
