// y[b, i, h] = sum_j softmax_j(scale * q[b, i, h] . k[b, j, h]) * v[b, j, h]
//
// One invocation a query and head; the softmax runs over the keys (arXiv:1805.02867), so no score matrix exists.
// q, y [batch, queries, heads*d]; k, v [batch, keys, heads*d]; d = LANES * (size of Lane).
// Dispatch: x over queries, y over heads, z over the batch.
// info: queries, keys, heads, scale (bits of an f32).

@group(0) @binding(#) var<storage, read> q: array<Lane>;
@group(0) @binding(#) var<storage, read> k: array<Lane>;
@group(0) @binding(#) var<storage, read> v: array<Lane>;
@group(0) @binding(#) var<storage, read_write> y: array<Lane>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

#if VECTOR == 1
alias Lane = vec4<f32>;
fn product(a: Lane, b: Lane) -> f32 { return dot(a, b); }
#else
alias Lane = f32;
fn product(a: Lane, b: Lane) -> f32 { return a * b; }
#endif

@compute @workgroup_size({{WG_X}})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let queries = info[0];
    let keys = info[1];
    let heads = info[2];
    let scale = bitcast<f32>(info[3]);
    let i = id.x;
    if i >= queries {
        return;
    }
    let stride = heads * {{LANES}}u;
    let at = (id.z * queries + i) * stride + id.y * {{LANES}}u;
    var query: array<Lane, {{LANES}}>;
    var sum: array<Lane, {{LANES}}>;
    for (var l = 0u; l < {{LANES}}u; l++) {
        query[l] = q[at + l] * scale;
        sum[l] = Lane();
    }
    var largest = -3.0e38;
    var total = 0.0;
#if CAUSAL == 1
    let end = min(keys, i + 1u);
#else
    let end = keys;
#endif
    for (var j = 0u; j < end; j++) {
        let key = (id.z * keys + j) * stride + id.y * {{LANES}}u;
        var score = 0.0;
        for (var l = 0u; l < {{LANES}}u; l++) {
            score += product(query[l], k[key + l]);
        }
        if score > largest {
            let shrink = exp(largest - score);
            total *= shrink;
            for (var l = 0u; l < {{LANES}}u; l++) {
                sum[l] *= shrink;
            }
            largest = score;
        }
        let weight = exp(score - largest);
        total += weight;
        for (var l = 0u; l < {{LANES}}u; l++) {
            sum[l] += weight * v[key + l];
        }
    }
    for (var l = 0u; l < {{LANES}}u; l++) {
        y[at + l] = sum[l] / total;
    }
}
