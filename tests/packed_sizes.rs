//! Bytes of Stable Diffusion 1.5 with AutoencoderTiny when it is packed, from the shapes of its tensors.

use easel::quantization::Policy;
use easel::weights::pack::packing;

/// Bytes of a number in the original: the larger of the two that models come in.
const ORIGINAL_BYTES: usize = 4;

/// Tensors of a part: names as diffusers and transformers give them, and shapes.
struct Shapes {
    part: &'static str,
    tensors: Vec<(String, Vec<usize>)>,
}

impl Shapes {
    fn new(part: &'static str) -> Self {
        Self { part, tensors: Vec::new() }
    }

    fn weight(&mut self, layer: &str, shape: &[usize]) {
        self.tensors.push((format!("{layer}.weight"), shape.to_vec()));
    }

    fn with_bias(&mut self, layer: &str, shape: &[usize]) {
        self.weight(layer, shape);
        self.tensors.push((format!("{layer}.bias"), vec![shape[0]]));
    }

    fn resnet(&mut self, place: &str, inputs: usize, outputs: usize) {
        self.with_bias(&format!("{place}.norm1"), &[inputs]);
        self.with_bias(&format!("{place}.conv1"), &[outputs, inputs, 3, 3]);
        self.with_bias(&format!("{place}.time_emb_proj"), &[outputs, 1280]);
        self.with_bias(&format!("{place}.norm2"), &[outputs]);
        self.with_bias(&format!("{place}.conv2"), &[outputs, outputs, 3, 3]);
        if inputs != outputs {
            self.with_bias(&format!("{place}.conv_shortcut"), &[outputs, inputs, 1, 1]);
        }
    }

    fn transformer(&mut self, place: &str, channels: usize) {
        self.with_bias(&format!("{place}.norm"), &[channels]);
        self.with_bias(&format!("{place}.proj_in"), &[channels, channels, 1, 1]);
        self.with_bias(&format!("{place}.proj_out"), &[channels, channels, 1, 1]);
        let block = format!("{place}.transformer_blocks.0");
        for (attention, keys) in [("attn1", channels), ("attn2", 768)] {
            self.weight(&format!("{block}.{attention}.to_q"), &[channels, channels]);
            self.weight(&format!("{block}.{attention}.to_k"), &[channels, keys]);
            self.weight(&format!("{block}.{attention}.to_v"), &[channels, keys]);
            self.with_bias(&format!("{block}.{attention}.to_out.0"), &[channels, channels]);
        }
        self.with_bias(&format!("{block}.ff.net.0.proj"), &[8 * channels, channels]);
        self.with_bias(&format!("{block}.ff.net.2"), &[channels, 4 * channels]);
        for norm in ["norm1", "norm2", "norm3"] {
            self.with_bias(&format!("{block}.{norm}"), &[channels]);
        }
    }
}

fn unet() -> Shapes {
    let mut shapes = Shapes::new("unet");
    let channels = [320, 640, 1280, 1280];
    shapes.with_bias("conv_in", &[320, 4, 3, 3]);
    shapes.with_bias("time_embedding.linear_1", &[1280, 320]);
    shapes.with_bias("time_embedding.linear_2", &[1280, 1280]);
    let (mut skips, mut width) = (vec![320], 320);
    for (i, outputs) in channels.into_iter().enumerate() {
        for j in 0..2 {
            shapes.resnet(&format!("down_blocks.{i}.resnets.{j}"), width, outputs);
            width = outputs;
            if i < 3 {
                shapes.transformer(&format!("down_blocks.{i}.attentions.{j}"), width);
            }
            skips.push(width);
        }
        if i < 3 {
            shapes.with_bias(&format!("down_blocks.{i}.downsamplers.0.conv"), &[width, width, 3, 3]);
            skips.push(width);
        }
    }
    shapes.resnet("mid_block.resnets.0", width, width);
    shapes.transformer("mid_block.attentions.0", width);
    shapes.resnet("mid_block.resnets.1", width, width);
    for (i, outputs) in channels.into_iter().rev().enumerate() {
        for j in 0..3 {
            let skip = skips.pop().unwrap_or_default();
            shapes.resnet(&format!("up_blocks.{i}.resnets.{j}"), width + skip, outputs);
            width = outputs;
            if i > 0 {
                shapes.transformer(&format!("up_blocks.{i}.attentions.{j}"), width);
            }
        }
        if i < 3 {
            shapes.with_bias(&format!("up_blocks.{i}.upsamplers.0.conv"), &[width, width, 3, 3]);
        }
    }
    shapes.with_bias("conv_norm_out", &[320]);
    shapes.with_bias("conv_out", &[4, 320, 3, 3]);
    shapes
}

fn text_encoder() -> Shapes {
    let mut shapes = Shapes::new("text_encoder");
    shapes.weight("text_model.embeddings.token_embedding", &[49408, 768]);
    shapes.weight("text_model.embeddings.position_embedding", &[77, 768]);
    for i in 0..12 {
        let layer = format!("text_model.encoder.layers.{i}");
        for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            shapes.with_bias(&format!("{layer}.self_attn.{projection}"), &[768, 768]);
        }
        shapes.with_bias(&format!("{layer}.mlp.fc1"), &[3072, 768]);
        shapes.with_bias(&format!("{layer}.mlp.fc2"), &[768, 3072]);
        for norm in ["layer_norm1", "layer_norm2"] {
            shapes.with_bias(&format!("{layer}.{norm}"), &[768]);
        }
    }
    shapes.with_bias("text_model.final_layer_norm", &[768]);
    shapes
}

/// The layers of AutoencoderTiny by what they are: ends, blocks of three convolutions, changes of size.
fn tiny_vae() -> Shapes {
    let mut shapes = Shapes::new("vae");
    for (coder, inputs, outputs) in [("encoder", 3, 4), ("decoder", 4, 3)] {
        shapes.with_bias(&format!("{coder}.layers.0"), &[64, inputs, 3, 3]);
        for i in 0..10 {
            for j in [0, 2, 4] {
                shapes.with_bias(&format!("{coder}.layers.{i}.conv.{j}"), &[64, 64, 3, 3]);
            }
        }
        for i in 0..3 {
            shapes.weight(&format!("{coder}.layers.{i}"), &[64, 64, 3, 3]);
        }
        shapes.with_bias(&format!("{coder}.layers.14"), &[outputs, 64, 3, 3]);
    }
    shapes
}

fn numbers(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn bytes(policy: &Policy) -> usize {
    let of_part = |shapes: Shapes| -> usize {
        let of_tensor = |(name, shape): &(String, Vec<usize>)| {
            packing(policy, shapes.part, name, shape)
                .map_or(ORIGINAL_BYTES * numbers(shape), |(quant, layout)| layout.bytes(quant))
        };
        shapes.tensors.iter().map(of_tensor).sum()
    };
    [unet(), text_encoder(), tiny_vae()].into_iter().map(of_part).sum()
}

#[test]
fn the_shapes_are_those_of_the_models() {
    // The published counts of parameters.
    let count = |shapes: Shapes| -> usize { shapes.tensors.iter().map(|(_, shape)| numbers(shape)).sum() };
    assert_eq!(
        [count(unet()), count(text_encoder()), count(tiny_vae())],
        [859_520_964, 123_060_480, 2_445_063]
    );
}

#[test]
fn packed_models_are_as_small_as_promised() -> easel::error::Result<()> {
    for (policy, most) in
        [("q8", 1_050_000_000), ("q6", 805_000_000), ("mixed", 600_000_000), ("q4", 560_000_000)]
    {
        let bytes = bytes(&policy.parse()?);
        assert!(bytes <= most && bytes > most / 100 * 98, "{policy}: {bytes} bytes, at most {most}");
    }
    Ok(())
}
