//! Every golden model and the bundled one: configurations are accepted, weights are found and readable.

use std::error::Error;

use cubecl::future::block_on;
use easel::config::{self, ClipTextConfig, ModelIndex, UNet2DConditionConfig, VaeConfig};
use easel::weights::source::FolderSource;
use easel::weights::{Prefer, Weights};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

async fn read(folder: &str) -> easel::error::Result<()> {
    let source = FolderSource::new(folder);
    let index: ModelIndex = config::load(&source, ModelIndex::FILE).await?;
    let unet: UNet2DConditionConfig = config::load(&source, "unet/config.json").await?;
    let class = index.class("vae").unwrap_or_default();
    let vae = VaeConfig::load(&source, "vae/config.json", class).await?;
    let text: ClipTextConfig = ClipTextConfig::load(&source, "text_encoder/config.json").await?;
    assert_eq!(vae.latent_channels(), unet.out_channels, "{folder}");
    let mut text_width = text.hidden_size;
    if index.is_xl() {
        text_width += ClipTextConfig::load(&source, "text_encoder_2/config.json").await?.hidden_size;
    }
    assert_eq!(text_width, unet.text_width(), "{folder}");

    let weights = Weights::open(&source, "unet", Prefer::Full).await?;
    let shape = [unet.channels(0), unet.in_channels, 3, 3];
    let conv_in = weights.read_f32("conv_in.weight", &shape).await?;
    assert!(conv_in.iter().all(|number| number.is_finite()), "{folder}");

    let weights = Weights::open(&source, "text_encoder", Prefer::Half).await?;
    let name = "text_model.embeddings.token_embedding.weight";
    let shape = [text.vocab_size, text.hidden_size];
    let all = weights.read_f32(name, &shape).await?;
    let last = weights.read_rows_f32(name, shape, &[text.vocab_size - 1, 0]).await?;
    let (end, begin) = last.split_at(text.hidden_size);
    assert!(all.ends_with(end) && all.starts_with(begin), "{folder}");

    let weights = Weights::open(&source, "vae", Prefer::Full).await?;
    if let VaeConfig::Kl(vae) = vae {
        let last = *vae.block_out_channels.last().unwrap_or(&0);
        let name = "decoder.mid_block.attentions.0.to_out.0.weight";
        weights.read_f32(name, &[last, last]).await?;
    }
    Ok(())
}

#[test]
fn all_models_are_read() -> Result<(), Box<dyn Error>> {
    let mut count = 0;
    for model in std::fs::read_dir(format!("{ROOT}/tests/goldens/models"))? {
        let folder = model?.path();
        block_on(read(&folder.to_string_lossy()))
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        count += 1;
    }
    assert!(count > 0, "there are no golden models");
    block_on(read(&format!("{ROOT}/models/starter")))?;
    Ok(())
}
