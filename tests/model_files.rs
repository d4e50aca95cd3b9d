//! Every golden model and the bundled one: configurations are accepted, weights are found and readable, from the
//! beginning of a file to its end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::rc::Rc;

use cubecl::future::block_on;
use easel::config::{self, ClipTextConfig, ModelIndex, UNet2DConditionConfig, VaeConfig};
use easel::hardware::{Choice, Faults, Hardware};
use easel::pipeline::Pipeline;
use easel::weights::source::{FolderSource, LocalBoxFuture, Source};
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

/// A folder, and where its files were read.
struct Watched {
    folder: FolderSource,
    reads: Rc<RefCell<BTreeMap<String, Vec<u64>>>>,
}

impl Source for Watched {
    fn size<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, easel::error::Result<Option<u64>>> {
        self.folder.size(path)
    }

    fn read<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, easel::error::Result<Vec<u8>>> {
        self.reads.borrow_mut().entry(path.to_owned()).or_default().push(range.start);
        self.folder.read(path, range)
    }
}

/// What the page reads ahead is what is asked for next.
#[test]
fn weights_are_read_in_the_order_of_the_file() -> Result<(), Box<dyn Error>> {
    for model in ["sd1", "sd2-v", "bk", "inpainting", "lcm", "fp16", "sdxl-turbo"] {
        let reads = Rc::default();
        let folder = FolderSource::new(format!("{ROOT}/tests/goldens/models/{model}"));
        let source = Watched { folder, reads: Rc::clone(&reads) };
        let hardware = Rc::new(block_on(Hardware::open(Choice::Cpu, Faults::default()))?);
        block_on(Pipeline::load(Box::new(source), hardware, Prefer::Half, |_| ()))?;
        let reads = reads.borrow();
        let of_weights = |path: &&String| path.ends_with(".safetensors") && !path.starts_with("text_encoder");
        let files: Vec<_> = reads.keys().filter(of_weights).collect();
        assert!(files.len() >= 2, "{model}: {files:?}");
        for path in files {
            assert!(reads[path].is_sorted(), "{model}/{path}: {:?}", reads[path]);
        }
    }
    Ok(())
}
