//! From a file of `shaders/` and a set of defines to a WGSL source, and to a launch of it on burn's `Cube` backend.
//!
//! The files are WGSL with six line directives: `#include NAME` (a file of `shaders/shared`), `#if NAME == N`,
//! `#if A > N`, `#elif`, `#else`, `#endif`, and `#for i N` … `#endfor`, which repeats its lines with `$i` counting up. N is a
//! number or a define. `{{NAME}}` stands for a define's value and `@binding(#)` for the next free binding.

use std::fmt::Write as _;

use burn::backend::DType;
use burn::tensor::Shape;
use burn_wgpu::{CubeDim, CubeTensor, KernelSource, SourceKernel, SourceTemplate, into_contiguous};
use cubecl::prelude::{CubeCount, KernelId};
use cubecl::server::{KernelArguments, MetadataBindingInfo};

use super::rehearsal::note_launch;

/// A file of `shaders/`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shader {
    /// File name without its extension.
    pub(crate) name: &'static str,
    /// Its text.
    pub(crate) template: &'static str,
}

/// Declares a [`Shader`] from its file name.
macro_rules! shader {
    ($name:literal) => {
        $crate::kernel::shader::Shader {
            name: $name,
            template: include_str!(concat!("../../../shaders/", $name, ".wgsl")),
        }
    };
}
pub(crate) use shader;

const SHARED: [(&str, &str); 12] = [
    ("activation", include_str!("../../../shaders/shared/activation.wgsl")),
    ("attention_lane", include_str!("../../../shaders/shared/attention_lane.wgsl")),
    ("epilogue", include_str!("../../../shaders/shared/epilogue.wgsl")),
    ("input", include_str!("../../../shaders/shared/input.wgsl")),
    ("lanes", include_str!("../../../shaders/shared/lanes.wgsl")),
    ("matrix_products", include_str!("../../../shaders/shared/matrix_products.wgsl")),
    ("row", include_str!("../../../shaders/shared/row.wgsl")),
    ("storage", include_str!("../../../shaders/shared/storage.wgsl")),
    ("tile", include_str!("../../../shaders/shared/tile.wgsl")),
    ("vector_products", include_str!("../../../shaders/shared/vector_products.wgsl")),
    ("weight", include_str!("../../../shaders/shared/weight.wgsl")),
    ("workgroup_sum", include_str!("../../../shaders/shared/workgroup_sum.wgsl")),
];

/// A shader with values for all its defines: one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    shader: &'static Shader,
    defines: Vec<(&'static str, u32)>,
}

impl Variant {
    /// A variant of `shader`; `defines` must name every define that the file uses.
    pub(crate) fn new(shader: &'static Shader, defines: &[(&'static str, u32)]) -> Self {
        Self { shader, defines: defines.to_vec() }
    }

    /// The define's value; a shader that asks for an unknown one is broken, and its tests say so.
    fn define(&self, name: &str) -> Option<u32> {
        self.defines.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// A literal number or a define's value.
    fn number(&self, word: &str) -> Option<u32> {
        word.parse().ok().or_else(|| self.define(word))
    }

    /// Name of the shader and its defines, for people.
    pub(crate) fn label(&self) -> String {
        let mut label = self.shader.name.to_owned();
        for (name, value) in &self.defines {
            let _ = write!(label, " {name}={value}");
        }
        label
    }

    /// The complete WGSL text.
    pub(crate) fn wgsl(&self) -> String {
        let mut lines = Vec::new();
        self.expand(&self.shader.template.lines().map(str::to_owned).collect::<Vec<_>>(), &mut lines);
        let mut text = lines.join("\n");
        for (name, value) in &self.defines {
            text = text.replace(&format!("{{{{{name}}}}}"), &value.to_string());
        }
        let mut numbered = String::new();
        for (binding, part) in text.split("@binding(#)").enumerate() {
            if binding > 0 {
                let _ = write!(numbered, "@binding({})", binding - 1);
            }
            numbered.push_str(part);
        }
        numbered
    }

    fn expand(&self, lines: &[String], out: &mut Vec<String>) {
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            at += 1;
            let mut words = line.split_whitespace();
            match words.next() {
                Some("#include") => {
                    let name = words.next().unwrap_or_default();
                    let text = SHARED
                        .iter()
                        .find(|(key, _)| *key == name)
                        .map_or("#unknown include", |(_, text)| text);
                    self.expand(&text.lines().map(str::to_owned).collect::<Vec<_>>(), out);
                }
                Some("#for") => {
                    let variable = format!("${}", words.next().unwrap_or_default());
                    let count = self.number(words.next().unwrap_or_default()).unwrap_or(0);
                    let end = at + block_length(&lines[at..], "#for", "#endfor");
                    for i in 0..count {
                        let body: Vec<String> = lines[at..end]
                            .iter()
                            .map(|line| line.replace(&variable, &i.to_string()))
                            .collect();
                        self.expand(&body, out);
                    }
                    at = end + 1;
                }
                Some("#if") => {
                    let end = at + block_length(&lines[at..], "#if", "#endif");
                    self.expand(self.taken_branch(&lines[at - 1..end]), out);
                    at = end + 1;
                }
                _ => out.push(line.clone()),
            }
        }
    }

    /// The lines of the first branch that holds; `block` starts at `#if` and ends before `#endif`.
    fn taken_branch<'a>(&self, block: &'a [String]) -> &'a [String] {
        let mut depth = 0;
        let mut heads = Vec::new();
        for (i, line) in block.iter().enumerate() {
            match line.split_whitespace().next() {
                Some("#if") => {
                    if depth == 0 {
                        heads.push(i);
                    }
                    depth += 1;
                }
                Some("#elif" | "#else") if depth == 1 => heads.push(i),
                Some("#endif") => depth -= 1,
                _ => {}
            }
        }
        heads.push(block.len());
        heads
            .windows(2)
            .find(|pair| self.holds(&block[pair[0]]))
            .map_or(&[], |pair| &block[pair[0] + 1..pair[1]])
    }

    fn holds(&self, line: &str) -> bool {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["#else"] => true,
            [_, left, "==", right] => self.number(left) == self.number(right),
            [_, left, ">", right] => self.number(left) > self.number(right),
            _ => false,
        }
    }

    fn workgroup(&self) -> CubeDim {
        CubeDim::new_2d(self.define("WG_X").unwrap_or(1), self.define("WG_Y").unwrap_or(1))
    }
}

/// Lines up to the directive that closes the block that is open at the start of `lines`.
fn block_length(lines: &[String], open: &str, close: &str) -> usize {
    let mut depth = 1;
    for (i, line) in lines.iter().enumerate() {
        match line.split_whitespace().next() {
            Some(word) if word == open => depth += 1,
            Some(word) if word == close => {
                depth -= 1;
                if depth == 0 {
                    return i;
                }
            }
            _ => {}
        }
    }
    lines.len()
}

impl KernelSource for Variant {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.wgsl())
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.clone())
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// Runs `variant` over `groups` workgroups: `inputs` are bound in order, then the new tensor of `shape` that is
/// returned, then `info`. Its numbers are those of the first input.
pub(crate) fn launch(
    variant: Variant,
    inputs: Vec<CubeTensor>,
    shape: Shape,
    groups: [u32; 3],
    info: &[u32],
) -> CubeTensor {
    let dtype = inputs[0].dtype;
    launch_as(dtype, variant, inputs, shape, groups, info)
}

/// [`launch`] with a result of `dtype`.
pub(crate) fn launch_as(
    dtype: DType,
    variant: Variant,
    inputs: Vec<CubeTensor>,
    shape: Shape,
    groups: [u32; 3],
    info: &[u32],
) -> CubeTensor {
    let client = inputs[0].client.clone();
    let device = inputs[0].device.clone();
    let output = client.empty(shape.num_elements() * dtype.size());
    let output = CubeTensor::new_contiguous(client, device, shape, output, dtype);
    launch_onto(variant, inputs, output, groups, info)
}

/// [`launch`] into a tensor that is there, which the shader may read; see [`can_overwrite`]. In a rehearsal it is left as
/// it is.
pub(crate) fn launch_onto(
    variant: Variant,
    inputs: Vec<CubeTensor>,
    output: CubeTensor,
    groups: [u32; 3],
    info: &[u32],
) -> CubeTensor {
    if note_launch(&variant, inputs.len(), info.len()) {
        // Memory is taken in another thread. Waiting for it keeps the operands until then, as a launch does. A failure
        // is the run's to meet again, and to report.
        let _ = output.client.flush();
        inputs.into_iter().for_each(|tensor| drop(into_contiguous(tensor)));
        return output;
    }
    let mut buffers: Vec<_> =
        inputs.into_iter().map(|tensor| into_contiguous(tensor).handle.binding()).collect();
    buffers.push(output.handle.clone().binding());
    let workgroup = variant.workgroup();
    output.client.launch(
        Box::new(SourceKernel::new(variant, workgroup)),
        CubeCount::Static(groups[0], groups[1], groups[2]),
        KernelArguments::new().with_buffers(buffers).with_info(MetadataBindingInfo::custom(pack(info))),
    );
    output
}

/// Whether nobody else holds the tensor and it fills its memory, so that a result may take its place.
pub(crate) fn can_overwrite(tensor: &CubeTensor) -> bool {
    tensor.can_mut() && tensor.is_contiguous() && tensor.is_contiguous_buffer()
}

/// `u32` words in the order that a shader reads them as `array<u32>`.
fn pack(words: &[u32]) -> Vec<u64> {
    words
        .chunks(2)
        .map(|pair| u64::from(pair[0]) | pair.get(1).map_or(0, |high| u64::from(*high) << 32))
        .collect()
}

/// Workgroups for `invocations` in rows of `size`, folded into two dimensions of at most 32768; and the invocations
/// of one such row.
pub(crate) fn fold(invocations: usize, size: u32) -> ([u32; 3], u32) {
    let groups = u32::try_from(invocations.div_ceil(size as usize)).unwrap_or(u32::MAX).max(1);
    let x = groups.min(32_768);
    ([x, groups.div_ceil(x), 1], x * size)
}

#[cfg(test)]
mod tests {
    use super::*;

    static PROBE: Shader = Shader {
        name: "probe",
        template: "@binding(#) a\n#if B == 1\n@binding(#) b\n#elif B == 2\ntwo\n#else\nnone\n#endif\n#for r R\n#if $r > 0\nx_$r\n#endif\n#endfor\n@binding(#) {{R}}",
    };

    #[test]
    fn directives_expand() {
        let text = |b| Variant::new(&PROBE, &[("B", b), ("R", 3)]).wgsl();
        assert_eq!(text(1), "@binding(0) a\n@binding(1) b\nx_1\nx_2\n@binding(2) 3");
        assert_eq!(text(2), "@binding(0) a\ntwo\nx_1\nx_2\n@binding(1) 3");
        assert_eq!(text(0), "@binding(0) a\nnone\nx_1\nx_2\n@binding(1) 3");
    }

    #[test]
    fn words_are_packed_little_endian() {
        assert_eq!(pack(&[1, 2, 3]), [0x0000_0002_0000_0001, 3]);
    }

    #[test]
    fn dispatches_fold_below_the_limit() {
        assert_eq!(fold(10, 64), ([1, 1, 1], 64));
        assert_eq!(fold(64 * 32_769, 64), ([32_768, 2, 1], 32_768 * 64));
    }
}
