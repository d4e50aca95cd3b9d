// y[b, i, h] = sum_j softmax_j(scale * q[b, i, h] . k[b, j, h]) * v[b, j, h]
//
// A workgroup shares tiles of 4 * FOURS keys and then values of one head in workgroup memory. An invocation owns ROWS
// queries, which share what it reads of a tile; SPLIT invocations share them, each with OWN of the head's lanes. The
// softmax runs over the keys (arXiv:1805.02867), so no score matrix exists.
// F16: tiles are in f16, and all arithmetic is in f32.
// q, y [batch, queries, heads*d]; k, v [batch, keys, heads*d]; d = SPLIT * OWN * (size of Lane).
// Dispatch: x over groups of queries, y over heads, z over the batch.
// info: queries, keys, heads, scale (bits of an f32).

#include storage

@group(0) @binding(#) var<storage, read> q: array<StoredLane>;
@group(0) @binding(#) var<storage, read> k: array<StoredLane>;
@group(0) @binding(#) var<storage, read> v: array<StoredLane>;
@group(0) @binding(#) var<storage, read_write> y: array<StoredLane>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

#include attention_lane

#if F16 == 0
alias Staged = Lane;
#elif VECTOR == 1
alias Staged = vec4<f16>;
#else
alias Staged = f16;
#endif

const LANES = {{SPLIT}}u * {{OWN}}u;
const TILE = {{FOURS}}u * 4u;
const SIZE = {{WG_X}}u;
const QUERIES = SIZE / {{SPLIT}}u * {{ROWS}}u;

// Keys, then values, of a tile.
var<workgroup> tile: array<Staged, TILE * LANES>;
#if SPLIT > 1
// What each invocation has of the scores of its queries.
var<workgroup> parts: array<vec4<f32>, {{ROWS}}u * {{FOURS}}u * SIZE>;
#endif

// The lane `l` that an invocation owns of a key or value.
fn staged(key: u32, l: u32, part: u32) -> Lane {
    return Lane(tile[key * LANES + l * {{SPLIT}}u + part]);
}

@compute @workgroup_size({{WG_X}})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let queries = info[0];
    let keys = info[1];
    let stride = info[2] * LANES;
    let scale = bitcast<f32>(info[3]);
    let first = group.x * QUERIES;
    let part = local % {{SPLIT}}u;
    let head = group.z * keys * stride + group.y * LANES;
#for r ROWS
    let own_$r = first + local / {{SPLIT}}u * {{ROWS}}u + $ru;
    // Past the edge, the last query is computed again and not stored.
    let i_$r = min(own_$r, queries - 1u);
    let at_$r = (group.z * queries + i_$r) * stride + group.y * LANES + part;
    var largest_$r = LOWEST;
    var total_$r = 0.0;
#for l OWN
    let query_$r_$l = Lane(q[at_$r + $lu * {{SPLIT}}u]) * scale;
    var sum_$r_$l = Lane();
#endfor
#if CAUSAL == 1
    let seen_$r = min(i_$r + 1u, keys);
#else
    let seen_$r = keys;
#endif
#endfor
#if CAUSAL == 1
    let end = min(keys, first + QUERIES);
#else
    let end = keys;
#endif
    for (var j = 0u; j < end; j += TILE) {
        for (var e = local; e < TILE * LANES; e += SIZE) {
            // Past the last key, it is read again and its score ruled out.
            tile[e] = Staged(k[head + min(j + e / LANES, keys - 1u) * stride + e % LANES]);
        }
        workgroupBarrier();
#for f FOURS
#for r ROWS
        var score_$r_$f = vec4<f32>(0.0);
#endfor
#for l OWN
        let k_$f_$l_0 = staged($fu * 4u, $lu, part);
        let k_$f_$l_1 = staged($fu * 4u + 1u, $lu, part);
        let k_$f_$l_2 = staged($fu * 4u + 2u, $lu, part);
        let k_$f_$l_3 = staged($fu * 4u + 3u, $lu, part);
#for r ROWS
        score_$r_$f += products(query_$r_$l, k_$f_$l_0, k_$f_$l_1, k_$f_$l_2, k_$f_$l_3);
#endfor
#endfor
#if SPLIT > 1
#for r ROWS
        parts[($ru * {{FOURS}}u + $fu) * SIZE + local] = score_$r_$f;
#endfor
#endif
#endfor
        workgroupBarrier();
        for (var e = local; e < TILE * LANES; e += SIZE) {
            tile[e] = Staged(v[head + min(j + e / LANES, keys - 1u) * stride + e % LANES]);
        }
#for r ROWS
        var larger_$r = largest_$r;
#for f FOURS
#if SPLIT > 1
        score_$r_$f = vec4<f32>(0.0);
        for (var s = 0u; s < {{SPLIT}}u; s++) {
            score_$r_$f += parts[($ru * {{FOURS}}u + $fu) * SIZE + local - part + s];
        }
#endif
        let place_$r_$f = j + $fu * 4u + vec4<u32>(0u, 1u, 2u, 3u);
        score_$r_$f = select(vec4<f32>(LOWEST), score_$r_$f, place_$r_$f < vec4<u32>(seen_$r));
        larger_$r = max(larger_$r, max4(score_$r_$f));
#endfor
        let shrink_$r = exp(largest_$r - larger_$r);
        largest_$r = larger_$r;
        total_$r *= shrink_$r;
#for l OWN
        sum_$r_$l *= shrink_$r;
#endfor
#endfor
        workgroupBarrier();
#for f FOURS
#for r ROWS
        let weight_$r_$f = exp(score_$r_$f - largest_$r);
        total_$r += weight_$r_$f.x + weight_$r_$f.y + weight_$r_$f.z + weight_$r_$f.w;
#endfor
#for l OWN
        let v_$f_$l_0 = staged($fu * 4u, $lu, part);
        let v_$f_$l_1 = staged($fu * 4u + 1u, $lu, part);
        let v_$f_$l_2 = staged($fu * 4u + 2u, $lu, part);
        let v_$f_$l_3 = staged($fu * 4u + 3u, $lu, part);
#for r ROWS
        sum_$r_$l += weight_$r_$f.x * v_$f_$l_0 + weight_$r_$f.y * v_$f_$l_1
            + weight_$r_$f.z * v_$f_$l_2 + weight_$r_$f.w * v_$f_$l_3;
#endfor
#endfor
#endfor
        workgroupBarrier();
    }
#for r ROWS
    if own_$r < queries {
#for l OWN
        y[at_$r + $lu * {{SPLIT}}u] = StoredLane(sum_$r_$l / total_$r);
#endfor
    }
#endfor
}
