//! `easel import`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use easel::error::{Error, Result};
use easel::pipeline::{Description, Part};
use easel::quantization::Policy;
use easel::weights::manifest::Manifest;
use easel::weights::pack::import_part;
use easel::weights::single_file::SingleFileSource;
use easel::weights::source::Source;

use super::http::HttpSource;
use super::http::access::Access;
use super::http::model_address::model_address;
use super::model::{CheckpointOptions, ModelFiles};
use super::pack::{copy_texts, finish, texts};
use super::packed_folder::PackedFolder;
use super::parse;

/// Files of a model on a host that are not weights, where there is no list of them.
const TEXTS: [&str; 5] =
    ["README.md", "LICENSE", "LICENSE.md", "model_index.json", "scheduler/scheduler_config.json"];
const TEXTS_OF_NETWORK: &[&str] = &["config.json"];
const TEXTS_OF_TOKENIZER: &[&str] = &[
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
];

#[derive(Args)]
pub(super) struct Import {
    /// Folder in diffusers layout, single-file checkpoint (.safetensors), `owner/name` of the hub, or address (https) of
    /// a folder, of a checkpoint, or of a model's page on the hub.
    source: String,
    /// Folder to write; it must not exist. An import from a host that was interrupted goes on.
    #[arg(long)]
    out: PathBuf,
    /// q8, q6, q4, or mixed: q4 with the sensitive layers finer. Weights that are packed already stay as they are.
    #[arg(long, default_value = "mixed", value_parser = parse::<Policy>)]
    quant: Policy,
    /// Largest size of a weights file, but for single tensors beyond it.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=4096))]
    shard_mib: u64,
    /// Host that `owner/name` is on.
    #[arg(long, env = "EASEL_HUB", default_value = "https://huggingface.co/")]
    hub: String,
    /// File with an access token for that host, for private and gated models. By default it is the variable HF_TOKEN of
    /// the environment.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Seconds of silence after which a host counts as lost, and is asked again.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    #[command(flatten)]
    checkpoint: CheckpointOptions,
}

pub(super) async fn run(options: &Import) -> Result<()> {
    let place = Path::new(&options.source);
    if place.exists() {
        return from_disk(place, options).await;
    }
    let access = Access::new(&options.hub, options.token_file.as_deref())?;
    let patience = Duration::from_secs(options.patience);
    let http = HttpSource::new(&model_address(&options.source, &options.hub)?, access, patience)?;
    let mut of = vec![options.source.clone(), options.quant.name().to_owned(), options.shard_mib.to_string()];
    of.extend(options.checkpoint.words());
    let now = || http.progress();
    let (mut folder, earlier) = PackedFolder::go_on(&options.out, of, &now)?;
    earlier.iter().for_each(|progress| http.go_on(progress));
    let written = from_host(&http, options, &mut folder).await;
    // What came of a file that proves wrong cannot be told from the rest; what cannot be read is not to be gone on with.
    if !matches!(written, Err(Error::DamagedFile { .. } | Error::UnsupportedDtype { .. })) {
        folder.keep();
    }
    written?;
    finish(folder, &options.out)
}

async fn from_disk(place: &Path, options: &Import) -> Result<()> {
    let source = ModelFiles::at(place, &options.checkpoint).open().await?;
    let verification = source.verify();
    let parts = Description::read(&source).await?.parts();
    let mut folder = PackedFolder::create(&options.out)?;
    import_parts(&source, &parts, options, &mut folder).await?;
    copy_texts(&source, texts(place, &source, &parts).await?, &mut folder).await?;
    if let Some(verification) = verification {
        verification.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    finish(folder, &options.out)
}

async fn from_host(http: &HttpSource, options: &Import, folder: &mut PackedFolder<'_>) -> Result<()> {
    if let Some(file) = http.single_file() {
        let companions = options.checkpoint.companions();
        let source = SingleFileSource::open(Box::new(http.clone()), file.as_str(), companions).await?;
        let mut parts = Description::read(&source).await?.parts();
        // In the order of the file, which is then read once from its beginning to its end.
        parts.sort_by_key(|part| source.start_of(part.folder()));
        http.check_all_of(&file);
        import_parts(&source, &parts, options, folder).await?;
        http.finish_check()?;
        return copy_texts(&source, source.texts().await?, folder).await;
    }
    options.checkpoint.refuse()?;
    if let Some(manifest) = Manifest::read(http).await? {
        http.expect(&manifest);
    }
    let parts = Description::read(http).await?.parts();
    import_parts(http, &parts, options, folder).await?;
    let mut found = Vec::new();
    let of_parts = parts.iter().flat_map(|part| {
        let names = if part.has_weights() { TEXTS_OF_NETWORK } else { TEXTS_OF_TOKENIZER };
        names.iter().map(|name| format!("{}/{name}", part.folder()))
    });
    for path in TEXTS.map(str::to_owned).into_iter().chain(of_parts) {
        if http.size(&path).await?.is_some() {
            found.push(path);
        }
    }
    copy_texts(http, found, folder).await
}

async fn import_parts(
    source: &dyn Source,
    parts: &[Part],
    options: &Import,
    folder: &mut PackedFolder<'_>,
) -> Result<()> {
    for part in parts.iter().filter(|part| part.has_weights()) {
        folder.say(format!("importing {}", part.folder()));
        import_part(source, part.folder(), &options.quant, options.shard_mib << 20, folder).await?;
    }
    Ok(())
}
