// y[i] = the end of a chain of multiply-adds: nothing but arithmetic, to measure what the adapter has of it.
//
// Eight independent chains of vec4 an invocation hide the latency of one; 64 floating-point operations a round.
// x [4], starting values that a compiler does not know; y [invocations] in vec4.
// Dispatch: x over invocations.
// info: rounds.

@group(0) @binding(#) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(#) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(#) var<storage, read> info: array<u32>;

@compute @workgroup_size({{WG_X}})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let factor = x[0];
#for c CHAINS
    var chain_$c = factor * f32(id.x + $cu);
#endfor
    for (var round = 0u; round < info[0]; round++) {
#for c CHAINS
        chain_$c = fma(chain_$c, factor, factor);
#endfor
    }
    var sum = vec4<f32>(0.0);
#for c CHAINS
    sum += chain_$c;
#endfor
    y[id.x] = sum;
}
