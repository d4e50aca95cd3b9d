use super::*;
use crate::config::Config;
use crate::error::Result;
use crate::weights::source::parse_json;

fn load(text: &str) -> Result<UNet2DConditionConfig> {
    let config: UNet2DConditionConfig = parse_json("unet/config.json", text)?;
    config.validate("unet/config.json")?;
    Ok(config)
}

#[test]
fn the_defaults_are_those_of_stable_diffusion_1() {
    let config = load("{}").unwrap();
    assert_eq!(config, UNet2DConditionConfig::default());
    assert_eq!((config.stages(), config.time_embed_dim()), (4, 1280));
    assert_eq!([0, 3].map(|stage| config.down_attends(stage)), [true, false]);
    assert_eq!([0, 3].map(|stage| config.up_attends(stage)), [true, false]);
    assert_eq!((config.heads(3), config.layers(1), config.sample_size()), (8, 2, None));
    assert!(config.has_mid_block());
}

#[test]
fn lists_by_stage_and_no_middle() {
    let config = load(
        r#"{"attention_head_dim": [5, 10, 20, 20], "layers_per_block": [1, 2, 2, 3], "mid_block_type": null,
            "sample_size": [96, 64], "transformer_layers_per_block": [1, 2, 10, 1], "cross_attention_dim": 1024}"#,
    )
    .unwrap();
    assert_eq!((config.heads(1), config.layers(3), config.down_transformer_layers(2, 1)), (10, 3, 10));
    assert_eq!((config.sample_size(), config.text_width()), (Some([96, 64]), 1024));
    assert!(!config.has_mid_block());
    let config =
        load(r#"{"num_attention_heads": 16, "sample_size": 64, "time_cond_proj_dim": 256}"#).unwrap();
    assert_eq!((config.heads(0), config.sample_size()), (16, Some([64, 64])));
}

#[test]
fn sizes_of_early_diffusers_are_raised() {
    for (version, size, expected) in [
        ("0.6.0.dev0", "32", [64, 64]),
        ("0.8.1", "96", [96, 96]),
        ("0.6.0", "[32, 48]", [32, 48]),
        ("0.9.0", "32", [32, 32]),
        ("0.42.1", "16", [16, 16]),
        ("1.0.0", "16", [16, 16]),
        ("odd", "16", [16, 16]),
    ] {
        let config =
            load(&format!(r#"{{"_diffusers_version": "{version}", "sample_size": {size}}}"#)).unwrap();
        assert_eq!(config.sample_size(), Some(expected), "{version} {size}");
    }
}

/// The UNets of SDXL and SSD-1B.
#[test]
fn text_time_and_depths_by_resnet() {
    const XL: &str = r#""down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "attention_head_dim": [5, 10, 20],
        "block_out_channels": [320, 640, 1280], "cross_attention_dim": 2048, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816, "upcast_attention": null"#;
    let config = load(&format!("{{{XL}, \"transformer_layers_per_block\": [1, 2, 10]}}")).unwrap();
    assert_eq!(
        (config.takes_text_time(), config.mid_attends(), config.mid_transformer_layers()),
        (true, true, 10)
    );
    assert_eq!((config.up_transformer_layers(1, 2), config.up_transformer_layers(2, 0)), (2, 10));
    let lists = r#""mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [1, [2, 2], [4, 0]],
        "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1]"#;
    let config = load(&format!("{{{XL}, {lists}}}")).unwrap();
    assert_eq!((config.has_mid_block(), config.mid_attends()), (true, false));
    assert_eq!([0, 1].map(|resnet| config.down_transformer_layers(2, resnet)), [4, 0]);
    assert_eq!([0, 1, 2].map(|resnet| config.up_transformer_layers(2, resnet)), [4, 4, 10]);
    assert_eq!([0, 1, 2].map(|resnet| config.up_transformer_layers(1, resnet)), [2, 1, 1]);
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let fields = [
        ("class_embed_type", "\"timestep\""),
        ("addition_embed_type", "\"text_image\""),
        ("addition_time_embed_dim", "0, \"addition_embed_type\": \"text_time\""),
        ("num_class_embeds", "10"),
        ("encoder_hid_dim", "64"),
        ("encoder_hid_dim_type", "\"text_proj\""),
        ("time_embedding_act_fn", "\"gelu\""),
        ("timestep_post_act", "\"silu\""),
        ("cross_attention_norm", "\"layer_norm\""),
        ("reverse_transformer_layers_per_block", "[[1, 2]]"),
        ("center_input_sample", "true"),
        ("dual_cross_attention", "true"),
        ("resnet_skip_time_act", "true"),
        ("class_embeddings_concat", "true"),
        ("mid_block_only_cross_attention", "true"),
        ("only_cross_attention", "[false, true, false, false]"),
        ("resnet_time_scale_shift", "\"scale_shift\""),
        ("time_embedding_type", "\"fourier\""),
        ("attention_type", "\"gated\""),
        ("act_fn", "\"gelu\""),
        ("conv_in_kernel", "5"),
        ("conv_out_kernel", "1"),
        ("downsample_padding", "0"),
        ("mid_block_scale_factor", "1.4"),
        ("resnet_out_scale_factor", "2"),
        ("in_channels", "0"),
        ("in_channels", "8"),
        ("out_channels", "0"),
        ("block_out_channels", "[]"),
        ("block_out_channels", "[320, 640, 1280, 1000000]"),
        ("block_out_channels", "[32, 32, 32, 32, 32, 32, 32, 32, 32]"),
        ("down_block_types", "[\"DownBlock2D\"]"),
        ("up_block_types", "[]"),
        ("layers_per_block", "0"),
        ("layers_per_block", "[2, 2]"),
        ("layers_per_block", "18446744073709551615"),
        ("transformer_layers_per_block", "[1, 2, 3]"),
        ("transformer_layers_per_block", "65"),
        ("transformer_layers_per_block", "[1, [1, 65], 1, 1]"),
        (
            "transformer_layers_per_block",
            "[1, [1], 1, 1], \"reverse_transformer_layers_per_block\": [1, 1, 1, 1]",
        ),
        ("reverse_transformer_layers_per_block", "[1, [1, 1], 1, 1]"),
        ("reverse_transformer_layers_per_block", "null, \"transformer_layers_per_block\": [1, [1, 2], 1, 1]"),
        ("cross_attention_dim", "[768, 768, 768, 1024]"),
        ("attention_head_dim", "7"),
        ("attention_head_dim", "0"),
        ("attention_head_dim", "1"),
        ("attention_head_dim", "[8, 8]"),
        ("num_attention_heads", "[3, 8, 8, 8]"),
        ("norm_num_groups", "33"),
        ("norm_num_groups", "0"),
        ("norm_num_groups", "null"),
        ("norm_eps", "-1"),
        ("freq_shift", "7"),
        ("sample_size", "[1, 2, 3]"),
        ("sample_size", "0"),
        ("time_cond_proj_dim", "99999999"),
    ];
    for (field, value) in fields {
        let error = load(
            &format!("{{\"act_fn\": \"silu\", \"{field}\": {value}}}")
                .replace("\"act_fn\": \"silu\", \"act_fn\"", "\"act_fn\""),
        )
        .expect_err(field);
        let text = error.to_string();
        assert!(text.starts_with(&format!("unet/config.json: field `{field}`")), "{field}: {text}");
    }
}

#[test]
fn unknown_blocks_are_named() {
    for (field, value) in [
        ("down_block_types", "[\"KDownBlock2D\", \"DownBlock2D\", \"DownBlock2D\", \"DownBlock2D\"]"),
        ("mid_block_type", "\"UNetMidBlock2DSimpleCrossAttn\""),
        ("_class_name", "\"UNet3DConditionModel\""),
    ] {
        let error = load(&format!("{{\"{field}\": {value}}}")).expect_err(field);
        assert_eq!(error.code(), "unsupported_class");
    }
}
