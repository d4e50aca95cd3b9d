// Sum of one value an invocation, the same for all of a workgroup of SIZE (a power of two).

var<workgroup> sums: array<f32, SIZE>;

fn workgroup_sum(local: u32, value: f32) -> f32 {
    sums[local] = value;
    workgroupBarrier();
    for (var reach = SIZE / 2u; reach > 0u; reach /= 2u) {
        if local < reach {
            sums[local] += sums[local + reach];
        }
        workgroupBarrier();
    }
    let sum = sums[0];
    workgroupBarrier();
    return sum;
}
