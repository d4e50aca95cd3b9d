//! A run that was prepared compiles nothing any more, and what was measured is kept.
#![allow(clippy::expect_used, reason = "a test that cannot load its model has failed")]

use std::rc::Rc;
use std::time::Duration;

use cubecl::future::block_on;
use easel::error::Error;
use easel::hardware::{Choice, Faults, Hardware};
use easel::kernel::rehearsal::{Rehearsal, rehearse};
use easel::pipeline::{InitImage, Pipeline, Preparation, Request, Run};
use easel::sampler::SamplerKind;
use easel::weights::Prefer;
use easel::weights::source::FolderSource;

fn load(device: Choice) -> Rc<Pipeline> {
    let hardware = block_on(Hardware::open(device, Faults::default())).expect("a device");
    let source = FolderSource::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens/models/sd1"));
    let pipeline = Pipeline::load(Box::new(source), Rc::new(hardware), Prefer::Full, |_| ());
    Rc::new(block_on(pipeline).expect("the model of the goldens"))
}

fn request(pipeline: &Pipeline) -> Request {
    // UniPC has the most kinds of updates.
    Request {
        prompt: "a fox".into(),
        steps: 5,
        sampler: Some(SamplerKind::UniPc),
        ..pipeline.usual_request()
    }
}

/// The same over a picture with a mask.
fn masked(request: Request) -> Request {
    let pixels = request.width * request.height;
    let mask = (0..pixels).map(|pixel| (pixel % 256) as u8).collect();
    Request { init_image: Some(InitImage::new(vec![128; pixels * 4].into(), Some(mask), None)), ..request }
}

#[test]
fn a_prepared_run_compiles_nothing() {
    let pipeline = load(Choice::Gpu);
    let request = request(&pipeline);
    prepares(&pipeline, &request);
    let run = rehearse(|| draw(&pipeline, &request));
    assert!(run.pipelines().count() > 10);
    assert_eq!(missed(&pipeline, &run), 0, "pipelines of the run were not prepared");
    // The encoder, and what goes around a mask.
    let masked = masked(request);
    block_on(pipeline.prepare(&masked, |_| ())).expect("it prepares");
    let run = rehearse(|| draw(&pipeline, &masked));
    assert_eq!(missed(&pipeline, &run), 0, "pipelines of the run over a picture were not prepared");
    measurements_pass_from_one_session_to_the_next(&pipeline);
}

fn draw(pipeline: &Rc<Pipeline>, request: &Request) {
    let mut run = block_on(Run::start(Rc::clone(pipeline), request.clone())).expect("it starts");
    while block_on(run.step()).expect("it steps").is_some() {}
    let _ = run.preview();
    // Refused where memory that nothing was computed into holds no numbers.
    let decoded = block_on(run.decode());
    assert!(matches!(decoded, Ok(_) | Err(Error::NotFinite { .. })), "{:?}", decoded.err());
}

/// How many pipelines of a run are not compiled yet; they are then.
fn missed(pipeline: &Pipeline, run: &Rehearsal) -> usize {
    let mut missed = 0;
    block_on(pipeline.hardware().compile(run, |_, total| missed = total)).expect("it compiles");
    missed
}

/// The first preparation says what it does, and the second has nothing to do.
fn prepares(pipeline: &Pipeline, request: &Request) {
    let mut heard = Vec::new();
    block_on(pipeline.prepare(request, |it| heard.push(it))).expect("it prepares");
    let (mut measured, mut compiled) = (0, 0);
    for preparation in &heard {
        match *preparation {
            Preparation::Measuring { done, total } => {
                assert!(compiled == 0 && done == measured && done < total);
                measured += 1;
            }
            Preparation::Compiling { done, total } => {
                assert!(done == compiled && done < total);
                compiled += 1;
            }
        }
    }
    assert!(measured > 0 && compiled > 10, "{heard:?}");
    let mut again = Vec::new();
    block_on(pipeline.prepare(request, |it| again.push(format!("{it:?}")))).expect("it is prepared");
    assert_eq!(again, [""; 0], "what was prepared before");
}

/// Called by the one test with a GPU: a process opens it once.
fn measurements_pass_from_one_session_to_the_next(pipeline: &Pipeline) {
    let hardware = pipeline.hardware();
    hardware.adopt_strategies("{damaged");
    assert!(hardware.strategies().entries().is_empty());
    block_on(pipeline.tune(Duration::from_millis(1))).expect("it measures");
    let known = hardware.strategies();
    assert_eq!(known.entries().len(), 1, "a budget that is gone at once decides one class");
    hardware.adopt_strategies("");
    assert!(hardware.strategies().entries().is_empty());
    hardware.adopt_strategies(&known.to_json());
    assert_eq!(hardware.strategies(), known);
}

#[test]
fn the_cpu_has_nothing_to_prepare() {
    let pipeline = load(Choice::Cpu);
    let request = request(&pipeline);
    block_on(pipeline.prepare(&request, |it| panic!("{it:?}"))).expect("nothing to do");
    let refused = Request { steps: 0, ..request };
    assert!(block_on(pipeline.prepare(&refused, |_| ())).is_err());
}
