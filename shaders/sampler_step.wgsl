// y[i] = sum_t coefficient[t] * term_t[i], a sampler's update of one tensor of the latents' shape.
//
// The first term may be the UNet's output over a guided batch, [2, elements] with the unconditional half first: then
// it stands for guidance, unconditional + scale * (conditional - unconditional).
// Dispatch: one invocation an element, folded over x and y.
// info: elements, invocations a row of the dispatch, guidance scale, then one coefficient a term (bits of f32s).

#for t TERMS
@group(0) @binding(#) var<storage, read> term_$t: array<f32>;
#endfor
@group(0) @binding(#) var<storage, read_write> y: array<f32>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

@compute @workgroup_size({{WG_X}})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let elements = info[0];
    let i = id.y * info[1] + id.x;
    if i >= elements {
        return;
    }
#if GUIDED == 1
    let unconditional = term_0[i];
    let guidance_scale = bitcast<f32>(info[2]);
    let guided = unconditional + guidance_scale * (term_0[elements + i] - unconditional);
    var sum = bitcast<f32>(info[3]) * guided;
#else
    var sum = bitcast<f32>(info[3]) * term_0[i];
#endif
#for t TERMS
#if $t > 0
    sum += bitcast<f32>(info[3u + $tu]) * term_$t[i];
#endif
#endfor
    y[i] = sum;
}
