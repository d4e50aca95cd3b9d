// Draws a picture of floats to the whole canvas, smoothed when the canvas is larger.
//
// rgb [height*width, 3] in 0..1. Draw: three vertices, one triangle over the target.
// info: width, height, width and height of the canvas.

@group(0) @binding(0) var<storage, read> rgb: array<f32>;
@group(0) @binding(1) var<uniform> info: vec4<u32>;

@vertex
fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    let corner = vec2<f32>(f32(index % 2u), f32(index / 2u));
    return vec4<f32>(corner * 4.0 - 1.0, 0.0, 1.0);
}

fn colour(x: i32, y: i32) -> vec3<f32> {
    let column = u32(clamp(x, 0, i32(info.x) - 1));
    let row = u32(clamp(y, 0, i32(info.y) - 1));
    let at = (row * info.x + column) * 3u;
    return vec3<f32>(rgb[at], rgb[at + 1u], rgb[at + 2u]);
}

@fragment
fn fragment(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let at = position.xy * vec2<f32>(info.xy) / vec2<f32>(info.zw) - 0.5;
    let corner = vec2<i32>(floor(at));
    let part = fract(at);
    let upper = mix(colour(corner.x, corner.y), colour(corner.x + 1, corner.y), part.x);
    let lower = mix(colour(corner.x, corner.y + 1), colour(corner.x + 1, corner.y + 1), part.x);
    return vec4<f32>(mix(upper, lower, part.y), 1.0);
}
