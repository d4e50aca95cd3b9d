// Activations that a kernel applies to its result. ACTIVATION: 0 none, 1 silu, 2 gelu, 3 quick gelu, 4 relu; 5 is no function of one value.

const SQRT_HALF = 0.70710678118654752;

// Error function, Abramowitz & Stegun 7.1.26; absolute error below 1.5e-7.
fn erf4(v: vec4<f32>) -> vec4<f32> {
    let a = abs(v);
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    return sign(v) * (1.0 - p * exp(-a * a));
}

fn gelu4(v: vec4<f32>) -> vec4<f32> {
    return 0.5 * v * (1.0 + erf4(v * SQRT_HALF));
}

// exp of the clamped negation, so that a large negative v gives 0 and not 0 * inf.
fn silu4(v: vec4<f32>) -> vec4<f32> {
    return v / (1.0 + exp(min(-v, vec4<f32>(80.0))));
}

fn activate(v: vec4<f32>) -> vec4<f32> {
#if ACTIVATION == 1
    return silu4(v);
#elif ACTIVATION == 2
    return gelu4(v);
#elif ACTIVATION == 3
    return v / (1.0 + exp(min(-1.702 * v, vec4<f32>(80.0))));
#elif ACTIVATION == 4
    return max(v, vec4<f32>(0.0));
#else
    return v;
#endif
}
