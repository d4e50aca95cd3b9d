//! A model whose parts follow each other on the device draws what it draws with all of them there, and a run that exhausts
//! the memory goes over to that.
#![allow(clippy::expect_used, reason = "a test that cannot load its model has failed")]

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use cubecl::future::block_on;
use easel::error::{Error, Result};
use easel::hardware::{Choice, Faults, Hardware};
use easel::pipeline::{InitImage, Pipeline, Request, Run};
use easel::sampler::SamplerKind;
use easel::weights::Prefer;
use easel::weights::source::{FolderSource, LocalBoxFuture, Source};

/// Files of a model, which also count reads and report exhausted memory at one of them.
struct Files {
    folder: FolderSource,
    watch: Rc<Watch>,
}

#[derive(Default)]
struct Watch {
    reads: Cell<usize>,
    fails_next: Cell<bool>,
    faults: Faults,
}

impl Watch {
    fn exhaust(&self) {
        self.faults.report("Out of memory: the test says so".into());
    }
}

impl Source for Files {
    fn size<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<u64>>> {
        self.folder.size(path)
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> LocalBoxFuture<'a, Result<Vec<u8>>> {
        self.watch.reads.set(self.watch.reads.get() + 1);
        if self.watch.fails_next.take() {
            self.watch.exhaust();
        }
        self.folder.read(path, range)
    }
}

fn load(model: &str, device: Choice) -> (Rc<Pipeline>, Rc<Watch>) {
    let watch = Rc::new(Watch::default());
    let hardware = block_on(Hardware::open(device, watch.faults.clone())).expect("a device");
    let folder = format!("{}/../tests/goldens/models/{model}", env!("CARGO_MANIFEST_DIR"));
    let files = Files { folder: FolderSource::new(folder), watch: Rc::clone(&watch) };
    let pipeline = Pipeline::load(Box::new(files), Rc::new(hardware), Prefer::Full, |_| ());
    (Rc::new(block_on(pipeline).expect("the model of the goldens")), watch)
}

/// Over a picture with a mask, by a sampler that draws noise at every step.
fn request(pipeline: &Pipeline) -> Request {
    let usual = pipeline.usual_request();
    let pixels = usual.width * usual.height;
    let mask = (0..pixels).map(|pixel| (pixel % 256) as u8).collect();
    Request {
        prompt: "a (red:1.2) fox".into(),
        negative_prompt: "blurry".into(),
        steps: 4,
        guidance_scale: 5.0,
        sampler: Some(SamplerKind::EulerAncestral),
        init_image: Some(InitImage::new(vec![128; pixels * 4].into(), Some(mask), None)),
        ..usual
    }
}

/// The picture, with `before` called before every stage of the run.
fn draw(pipeline: &Rc<Pipeline>, request: &Request, before: impl Fn(&str)) -> Result<Vec<f32>> {
    before("start");
    let mut run = block_on(Run::start(Rc::clone(pipeline), request.clone()))?;
    before("step");
    while block_on(run.step())?.is_some() {}
    before("decode");
    let picture = block_on(run.decode())?;
    block_on(pipeline.hardware().read(picture))
}

#[test]
fn parts_that_follow_each_other_draw_the_same() -> Result<()> {
    for model in ["sd1", "sdxl"] {
        let (pipeline, watch) = load(model, Choice::Cpu);
        let request = request(&pipeline);
        let expected = draw(&pipeline, &request, |_| ())?;
        let reads = watch.reads.replace(0);
        pipeline.hardware().set_low_memory(true);
        assert_eq!(draw(&pipeline, &request, |_| ())?, expected, "{model}");
        assert!(watch.reads.get() > reads / 2, "{model}: weights were not read again");
    }
    Ok(())
}

/// The one test with a GPU: a process opens it once.
#[test]
fn exhausted_memory_makes_parts_follow_each_other() -> Result<()> {
    let (pipeline, watch) = load("sd1", Choice::Gpu);
    let hardware = pipeline.hardware();
    let request = request(&pipeline);
    let expected = draw(&pipeline, &request, |_| ())?;
    let in_use = || hardware.device().memory_pool_usage().map_or(0, |usage| usage.bytes_in_use);
    hardware.free_unused();
    let together = in_use();
    for stage in ["start", "step", "decode"] {
        hardware.set_low_memory(false);
        let exhaust = |now: &str| match (now == stage, now) {
            // A run forgets what was reported before it.
            (true, "start") => watch.fails_next.set(true),
            (true, _) => watch.exhaust(),
            (false, _) => {}
        };
        assert_eq!(draw(&pipeline, &request, exhaust)?, expected, "exhausted at {stage}");
        assert!(hardware.low_memory(), "{stage}");
        hardware.free_unused();
        let decoder = in_use();
        assert!(decoder < together / 2, "{stage}: {decoder} bytes are left, and {together} were there");
    }
    // There is nothing left to give back.
    let exhaust = |now: &str| {
        if now == "step" {
            watch.exhaust();
        }
    };
    assert!(matches!(draw(&pipeline, &request, exhaust), Err(Error::OutOfMemory { .. })));
    Ok(())
}
