//! Whole runs against what diffusers computed with the same weights, prompts and seeds (`tests/goldens/runs.py`,
//! and `loras.py`), on the CPU and on the GPU.

#[path = "support/golden.rs"]
mod golden;

use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;

use burn::tensor::{Tensor, TensorData};
use cubecl::future::block_on;
use easel::hardware::{Choice, Faults, Hardware};
use easel::model::AddedCond;
use easel::model::unet::UNet2DConditionModel;
use easel::model::vae::{LatentDistribution, VaeEncoder};
use easel::pipeline::{Encoded, Given, Numbers, Pipeline, Request, Run, planes};
use easel::random::TorchGenerator;
use easel::sampler::{Sampler, Span, build};
use easel::weights::Prefer;
use easel::weights::source::FolderSource;
use golden::{Comparison, GOLDENS, Golden, TOLERANCE};
use serde::Deserialize;

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// Largest differences, relative to the range of the golden tensor.
#[derive(Clone, Copy)]
struct Within {
    /// Of an encoding and of one UNet call.
    call: f32,
    /// Of latents and pictures of a run.
    run: f32,
}

const F32: Within = Within { call: TOLERANCE, run: TOLERANCE };

/// A number in f16 is rounded by up to 2^-11 of it. On the way through a UNet that grows, to 3e-3 at most as was found, and
/// through a run as far as its model lets it: to 4e-2 in the one that does most, 2e-2 in the others.
const F16: Within = Within { call: 5e-3, run: 6e-2 };

/// Parameters of a run.
#[derive(Deserialize)]
struct Case {
    /// Below [`GOLDENS`].
    file: String,
    model: String,
    sampler: Option<String>,
    steps: usize,
    guidance_scale: f64,
    seed: u64,
    width: usize,
    height: usize,
    prompt: String,
    negative_prompt: String,
    calls: usize,
    /// Names of files in `loras`, with strengths.
    #[serde(default)]
    loras: BTreeMap<String, f64>,
}

/// Every run, those of one model and folder side by side.
fn cases() -> TestResult<Vec<Case>> {
    let mut cases = Vec::new();
    for folder in ["runs", "loras"] {
        let index = std::fs::read_to_string(format!("{GOLDENS}/{folder}/index.json"))?;
        for mut case in serde_json::from_str::<Vec<Case>>(&index)? {
            case.file = format!("{folder}/{}", case.file);
            cases.push(case);
        }
    }
    Ok(cases)
}

/// One golden model on one device.
struct Model {
    name: String,
    pipeline: Rc<Pipeline>,
    unet: UNet2DConditionModel,
    vae_encoder: VaeEncoder,
}

impl Model {
    async fn load(name: &str, hardware: &Rc<Hardware>) -> TestResult<Self> {
        let source = FolderSource::new(format!("{GOLDENS}/models/{name}"));
        let (prefer, device) = (Prefer::Full, hardware.device());
        let pipeline = Pipeline::load(Box::new(source.clone()), Rc::clone(hardware), prefer, |_| {}).await?;
        let description = pipeline.description();
        Ok(Self {
            name: name.to_owned(),
            unet: UNet2DConditionModel::load(&source, prefer, description.unet.clone(), device).await?,
            vae_encoder: VaeEncoder::load(&source, prefer, description.vae.clone(), device).await?,
            pipeline: Rc::new(pipeline),
        })
    }

    fn request(&self, case: &Case) -> TestResult<Request> {
        Ok(Request {
            prompt: self.prompt_seen(case)? + &tags(case),
            negative_prompt: case.negative_prompt.clone(),
            steps: case.steps,
            guidance_scale: case.guidance_scale,
            sampler: case.sampler.as_deref().map(str::parse).transpose()?,
            seed: case.seed,
            width: case.width,
            height: case.height,
            init_image: None,
            given: Given::default(),
        })
    }

    /// The part of a prompt that diffusers uses: it cuts what does not fit the encoder, Easel encodes more chunks.
    fn prompt_seen(&self, case: &Case) -> TestResult<String> {
        let length = self.pipeline.tokenizer().max_length();
        let mut seen = case.prompt.as_str();
        while block_on(self.pipeline.encode(seen, None))?.prompt.ids.len() > length {
            seen = seen.trim_end().rsplit_once(' ').ok_or("a prompt of one endless word")?.0;
        }
        Ok(seen.to_owned())
    }

    fn sampler(&self, request: &Request) -> TestResult<Sampler> {
        Ok(build(request.sampler, &self.pipeline.description().scheduler, request.steps, Span::All)?)
    }

    /// `[1, c, h, w]` to `[1, h*w, c]` on the device.
    fn upload(&self, values: &[f32], channels: usize) -> Tensor<3> {
        let pixels = values.len() / channels;
        let data = TensorData::new(planes(values, pixels), [1, pixels, channels]);
        Tensor::from_data(data, self.pipeline.hardware().device())
    }

    async fn prompts(&self, request: &Request, golden: &mut Comparison<'_>) -> TestResult {
        let embeds = self.pipeline.encode(&request.prompt, Some(&request.negative_prompt)).await?;
        let negative = embeds.negative.ok_or("no negative prompt")?;
        for (suffix, Encoded { ids, ids_2, embeds, text_embeds }) in
            [("", embeds.prompt), ("_uncond", negative)]
        {
            golden.ids(&format!("token_ids{suffix}"), &ids)?;
            let embeds = self.pipeline.hardware().read(embeds).await?;
            golden.compare(&format!("text_embeddings{suffix}"), &embeds)?;
            if self.takes_text_time() {
                golden.ids(&format!("token_ids_2{suffix}"), &ids_2.ok_or("no ids of tokenizer_2")?)?;
                let pooled = self.pipeline.hardware().read(text_embeds.ok_or("no pooled text")?).await?;
                golden.compare(&format!("pooled_text_embeddings{suffix}"), &pooled)?;
            }
        }
        Ok(())
    }

    fn takes_text_time(&self) -> bool {
        self.unet.config().takes_text_time()
    }

    fn added_cond(&self, golden: &Golden) -> TestResult<Option<AddedCond>> {
        if !self.takes_text_time() {
            return Ok(None);
        }
        let ([_, width], pooled) = golden.tensor("pooled_text_embeddings")?;
        let data = TensorData::new(pooled.to_vec(), [1, 1, width]);
        let text_embeds = Tensor::from_data(data, self.pipeline.hardware().device());
        let ([_, count], time_ids) = golden.tensor("unet.time_ids")?;
        assert_eq!(count, 6);
        let time_ids = std::array::from_fn(|i| f64::from(time_ids[i]));
        Ok(Some(AddedCond { text_embeds, time_ids }))
    }

    async fn unet_call(&self, golden: &mut Comparison<'_>) -> TestResult {
        let ([_, tokens, width], embeds) = golden.golden.tensor("text_embeddings")?;
        let data = TensorData::new(embeds.to_vec(), [1, tokens, width]);
        let embeds = Tensor::from_data(data, self.pipeline.hardware().device());
        let (_, timestep) = golden.golden.tensor::<1>("unet.timestep")?;
        let timesteps: Vec<f64> = timestep.iter().map(|timestep| f64::from(*timestep)).collect();
        let timestep_cond = match self.unet.config().time_cond_proj_dim {
            Some(_) => Some(golden.golden.tensor::<2>("unet.timestep_cond")?.1),
            None => None,
        };
        let added_cond = self.added_cond(golden.golden)?;
        let inputs = self.unet.prepare(&embeds, &timesteps, timestep_cond, added_cond.as_ref());
        let ([_, channels, height, width], sample) = golden.golden.tensor("unet.sample")?;
        let output = self.unet.forward(self.upload(sample, channels), height, width, &inputs, 0);
        let output = self.pipeline.hardware().read(output).await?;
        golden.compare("unet.output", &planes(&output, channels))
    }

    async fn vae_encode(&self, golden: &mut Comparison<'_>) -> TestResult {
        let ([_, channels, height, width], image) = golden.golden.tensor("vae.image")?;
        let moments = self.vae_encoder.forward(self.upload(image, channels), height, width);
        let [_, _, channels] = moments.dims();
        let vae = &self.pipeline.description().vae;
        let moments = planes(&self.pipeline.hardware().read(moments).await?, channels);
        let LatentDistribution { mean, .. } = LatentDistribution::new(&moments, vae);
        let (scale, shift) = (vae.scaling_factor() as f32, vae.shift_factor() as f32);
        let mean: Vec<f32> = mean.iter().map(|mean| mean / scale + shift).collect();
        golden.compare("vae.latents", &mean)
    }

    async fn run(&self, request: Request, golden: &mut Comparison<'_>) -> TestResult {
        let sigma = self.sampler(&request)?.init_noise_sigma as f32;
        let mut run = Run::start(Rc::clone(&self.pipeline), request).await?;
        let unscaled: Vec<f32> = run.latents().await?.iter().map(|value| value / sigma).collect();
        golden.compare("latents", &unscaled)?;
        while let Some(step) = run.step().await? {
            golden.compare(&format!("latents.{}", step.index - 1), &run.latents().await?)?;
        }
        let picture = self.pipeline.hardware().read(run.decode().await?).await?;
        golden.compare("image", &planes(&picture, 3))
    }

    async fn check(&self, case: &Case, within: Within, faults: &mut Vec<String>) -> TestResult {
        let golden = Golden::read(&case.file).await?;
        let place = format!("{} on {}", case.file, self.pipeline.hardware().name());
        let mut comparison = Comparison { golden: &golden, place, faults, tolerance: within.call };
        let request = self.request(case)?;
        let calls = self.sampler(&request)?.calls.len();
        assert_eq!((calls, case.model.as_str()), (case.calls, self.name.as_str()), "{}", case.file);
        for name in case.loras.keys() {
            let source = Box::new(FolderSource::new(format!("{GOLDENS}/loras")));
            let report = self.pipeline.add_lora(name, source, &format!("{name}.safetensors")).await?;
            assert_eq!(report.warnings, [""; 0], "{}", case.file);
        }
        self.prompts(&request, &mut comparison).await?;
        if case.loras.is_empty() {
            self.unet_call(&mut comparison).await?;
            self.vae_encode(&mut comparison).await?;
        }
        comparison.tolerance = within.run;
        self.run(request, &mut comparison).await
    }
}

/// What makes a prompt ask for a case's LoRAs.
fn tags(case: &Case) -> String {
    case.loras.iter().map(|(name, strength)| format!("<lora:{name}:{strength}>")).collect()
}

/// All runs on one device; every model is loaded once.
async fn all_runs(hardware: Rc<Hardware>, within: Within) -> TestResult {
    let cases = cases()?;
    assert!(!cases.is_empty());
    let mut faults = Vec::new();
    let mut model: Option<Model> = None;
    for case in &cases {
        let current = match model.take().filter(|model| model.name == case.model) {
            Some(model) => model,
            None => Model::load(&case.model, &hardware).await?,
        };
        current.check(case, within, &mut faults).await?;
        model = Some(current);
    }
    assert!(faults.is_empty(), "{} tensors differ:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

#[test]
fn runs_equal_diffusers_on_the_cpu() -> TestResult {
    block_on(all_runs(Rc::new(Hardware::cpu()), F32))
}

/// Latents that f16 cannot hold end in an error that says what to do, and not in a picture.
async fn overflow_is_refused(hardware: &Rc<Hardware>) -> TestResult {
    let case = cases()?.swap_remove(0);
    let golden = Golden::read(&case.file).await?;
    let (shape, values) = golden.tensor::<4>("latents")?;
    let huge = Numbers { shape: shape.to_vec(), values: values.iter().map(|value| value * 1e6).collect() };
    let model = Model::load(&case.model, hardware).await?;
    let given = Given { latents: Some(huge), ..Given::default() };
    let mut run = Run::start(Rc::clone(&model.pipeline), Request { given, ..model.request(&case)? }).await?;
    while run.step().await?.is_some() {}
    let error = run.decode().await.err().ok_or("there is a picture")?;
    assert!(error.to_string().contains("choose f32"), "{error}");
    Ok(())
}

#[test]
fn runs_equal_diffusers_on_the_gpu() -> TestResult {
    block_on(async {
        let hardware = Hardware::open(Choice::Gpu, Faults::default()).await.map_err(|error| {
            format!("{error}. The tests need a Vulkan driver, a software one will do: apt install mesa-vulkan-drivers")
        })?;
        let hardware = Rc::new(hardware);
        all_runs(Rc::clone(&hardware), F32).await?;
        // A process opens one device, so this is no test of its own. Mesa's lavapipe has f16 since version 25.
        if hardware.allow_f16().is_ok() {
            all_runs(Rc::clone(&hardware), F16).await?;
            overflow_is_refused(&hardware).await?;
        }
        Ok(())
    })
}

/// Latents and noise that were drawn elsewhere take the place of the seed's, bit for bit.
#[test]
fn given_numbers_replace_the_seed() -> TestResult {
    let cases = cases()?;
    let case =
        cases.iter().find(|case| case.sampler.as_deref() == Some("euler-a")).ok_or("no euler-a run")?;
    block_on(async {
        let model = Model::load(&case.model, &Rc::new(Hardware::cpu())).await?;
        let request = model.request(case)?;
        let mut run = Run::start(Rc::clone(&model.pipeline), request.clone()).await?;
        let (height, width) = run.latent_size();
        let shape = vec![1, model.pipeline.description().vae.latent_channels(), height, width];
        while run.step().await?.is_some() {}

        let mut generator = TorchGenerator::manual_seed(request.seed);
        let mut draw = || Numbers { values: generator.randn(shape.iter().product()), shape: shape.clone() };
        let mut given = Given { latents: Some(draw()), ..Given::default() };
        for (call, _) in
            model.sampler(&request)?.calls.iter().enumerate().filter(|(_, call)| call.needs_noise())
        {
            given.noise.insert(call, draw());
        }
        assert!(!given.noise.is_empty());
        let mut same = Run::start(Rc::clone(&model.pipeline), Request { seed: 0, given, ..request }).await?;
        while same.step().await?.is_some() {}
        assert_eq!(same.latents().await?, run.latents().await?);
        Ok(())
    })
}
