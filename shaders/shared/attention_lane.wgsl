// Parts of a head's channels, as attention reads them, and its running softmax.

#if VECTOR == 1
alias Lane = vec4<f32>;
alias StoredLane = vec4<Stored>;
fn products(a: Lane, b: Lane, c: Lane, d: Lane, e: Lane) -> vec4<f32> {
    return vec4<f32>(dot(a, b), dot(a, c), dot(a, d), dot(a, e));
}
#else
alias Lane = f32;
alias StoredLane = Stored;
fn products(a: Lane, b: Lane, c: Lane, d: Lane, e: Lane) -> vec4<f32> {
    return a * vec4<f32>(b, c, d, e);
}
#endif

// Below every score; not an infinity, which WGSL may take for a number.
const LOWEST = -3.0e38;

fn max4(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}
