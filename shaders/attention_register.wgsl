// y[b, i, h] = sum_j softmax_j(scale * q[b, i, h] . k[b, j, h]) * v[b, j, h]
//
// Register tiles without workgroup memory: an invocation owns QUERIES queries of one head, which share what it reads of
// four keys and values at a time. SHARED: of four neighbours in a subgroup each reads one of the four, and hands it on.
// The softmax runs over the keys (arXiv:1805.02867), so no score matrix exists.
// q, y [batch, queries, heads*d]; k, v [batch, keys, heads*d]; d = LANES * (size of Lane).
// Dispatch: x over groups of queries, y over heads, z over the batch.
// info: queries, keys, heads, scale (bits of an f32).

#if SUBGROUPS == 1
enable subgroups;
#endif
#include storage

@group(0) @binding(#) var<storage, read> q: array<StoredLane>;
@group(0) @binding(#) var<storage, read> k: array<StoredLane>;
@group(0) @binding(#) var<storage, read> v: array<StoredLane>;
@group(0) @binding(#) var<storage, read_write> y: array<StoredLane>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

#include attention_lane

@compute @workgroup_size({{WG_X}})
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
#if SHARED == 1
    @builtin(subgroup_invocation_id) subgroup_place: u32,
#endif
) {
    let queries = info[0];
    let keys = info[1];
    let stride = info[2] * {{LANES}}u;
    let scale = bitcast<f32>(info[3]);
    let first = id.x * {{QUERIES}}u;
#if SHARED == 0
    if first >= queries {
        return;
    }
#endif
    // Past the edge, the last query is computed again and not stored.
#for r QUERIES
    let i_$r = min(first + $ru, queries - 1u);
    let at_$r = (id.z * queries + i_$r) * stride + id.y * {{LANES}}u;
    var largest_$r = LOWEST;
    var total_$r = 0.0;
#for l LANES
    let query_$r_$l = Lane(q[at_$r + $lu]) * scale;
    var sum_$r_$l = Lane();
#endfor
#endfor
    // Neighbours that share go on together to the last key.
#if SHARED == 1
    let end = keys;
#elif CAUSAL == 1
    let end = min(keys, first + {{QUERIES}}u);
#else
    let end = keys;
#endif
    for (var j = 0u; j < end; j += 4u) {
        // Past the last key, it is read again and its score ruled out.
#if SHARED == 1
        let key = (id.z * keys + min(j + subgroup_place % 4u, keys - 1u)) * stride + id.y * {{LANES}}u;
#else
#for t FOUR
        let key_$t = (id.z * keys + min(j + $tu, keys - 1u)) * stride + id.y * {{LANES}}u;
#endfor
#endif
#for r QUERIES
        var score_$r = vec4<f32>(0.0);
#endfor
#for l LANES
#if SHARED == 1
        let read_k_$l = Lane(k[key + $lu]);
#for t FOUR
        let k_$l_$t = quadBroadcast(read_k_$l, $tu);
#endfor
#else
#for t FOUR
        let k_$l_$t = Lane(k[key_$t + $lu]);
#endfor
#endif
#for r QUERIES
        score_$r += products(query_$r_$l, k_$l_0, k_$l_1, k_$l_2, k_$l_3);
#endfor
#endfor
#for r QUERIES
#if CAUSAL == 1
        let seen_$r = min(i_$r + 1u, keys);
#else
        let seen_$r = keys;
#endif
        score_$r = select(vec4<f32>(LOWEST), score_$r, j + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(seen_$r));
        let larger_$r = max(largest_$r, max4(score_$r));
        if larger_$r > largest_$r {
            let shrink = exp(largest_$r - larger_$r);
            total_$r *= shrink;
#for l LANES
            sum_$r_$l *= shrink;
#endfor
            largest_$r = larger_$r;
        }
        let weight_$r = exp(score_$r - largest_$r);
        total_$r += weight_$r.x + weight_$r.y + weight_$r.z + weight_$r.w;
#endfor
#for l LANES
#if SHARED == 1
        let read_v_$l = Lane(v[key + $lu]);
#for t FOUR
        let v_$l_$t = quadBroadcast(read_v_$l, $tu);
#endfor
#else
#for t FOUR
        let v_$l_$t = Lane(v[key_$t + $lu]);
#endfor
#endif
#for r QUERIES
        sum_$r_$l += weight_$r.x * v_$l_0 + weight_$r.y * v_$l_1 + weight_$r.z * v_$l_2 + weight_$r.w * v_$l_3;
#endfor
#endfor
    }
#for r QUERIES
    if first + $ru < queries {
#for l LANES
        y[at_$r + $lu] = StoredLane(sum_$r_$l / total_$r);
#endfor
    }
#endfor
}
