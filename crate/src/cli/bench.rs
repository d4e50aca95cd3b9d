//! `easel bench`.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use easel::error::Result;
use easel::hardware::Hardware;
use easel::kernel::{Storage, peak};
use easel::pipeline::{Memory, Pipeline, Run};
use easel::weights::Prefer;
use easel::weights::source::FolderSource;
use serde_json::{Value, json};

use super::bench_cases::{Case, cases};
use super::{Bench, Precision, tune};

/// Measurements go on for as long, or until there are enough.
const ENOUGH_TIME: Duration = Duration::from_millis(300);
const ENOUGH_RUNS: usize = 20;
/// Steps of the model that are timed, behind one that is not.
const STEPS: usize = 5;

/// The adapter's own limits, operations and bytes a second.
struct Peak {
    operations: f64,
    bytes: f64,
}

pub(super) async fn run(options: &Bench) -> Result<()> {
    let hardware = Rc::new(tune::open(options.device, options.precision).await?);
    if let (Some(model), true) = (&options.model, options.memory) {
        hardware.set_low_memory(options.low_memory);
        return memory(model, hardware, options.json).await;
    }
    let peak = peak(&hardware).await?;
    if !options.json {
        println!("{}, one of {} pixels", hardware.name(), options.scale);
        if let Some(peak) = &peak {
            println!("multiply-add {:.1} GFLOP/s, copy {:.1} GB/s", peak.operations / 1e9, peak.bytes / 1e9);
        }
        println!(
            "kernel      shape                weight       time    GFLOP/s  of peak       GB/s  of peak"
        );
    }
    let mut kernels = Vec::new();
    let storage = match options.precision {
        Precision::F32 => Storage::F32,
        Precision::F16 => Storage::F16,
    };
    let cases = cases(options.scale.into(), storage);
    for case in cases.iter().filter(|case| case.kernel.contains(&options.only)) {
        let compute = (case.prepare)(hardware.device());
        let seconds = fastest(&hardware, compute).await?;
        let result = result(case, seconds, peak.as_ref());
        if !options.json {
            print(&result);
        }
        kernels.push(result);
    }
    let step = match &options.model {
        Some(model) => Some(step(model, Rc::clone(&hardware)).await?),
        None => None,
    };
    if options.json {
        println!("{}", report(options, &hardware, peak.as_ref(), &kernels, step));
    } else if let Some(seconds) = step {
        println!("UNet step {:.1} ms", seconds * 1e3);
    }
    Ok(())
}

/// Seconds of a computation, the least of several: what else the machine does only adds to them.
async fn fastest<const D: usize>(hardware: &Hardware, compute: impl Fn() -> Tensor<D>) -> Result<f64> {
    // The first compiles.
    hardware.settle(&compute()).await?;
    let begin = Instant::now();
    let mut least = f64::INFINITY;
    for run in 0..ENOUGH_RUNS {
        let start = Instant::now();
        hardware.settle(&compute()).await?;
        least = least.min(start.elapsed().as_secs_f64());
        if run > 0 && begin.elapsed() > ENOUGH_TIME {
            break;
        }
    }
    Ok(least)
}

/// The median.
fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Bytes of the copy; half of what every adapter can bind.
const COPY_BYTES: usize = 64 << 20;

async fn peak(hardware: &Hardware) -> Result<Option<Peak>> {
    let start: Tensor<1> = Tensor::full([4], 0.5, hardware.device());
    let x: Tensor<1> = Tensor::zeros([COPY_BYTES / 4], hardware.device());
    if peak::copy(&x).is_none() {
        return Ok(None);
    }
    let mut rounds = 64;
    let mut operations = 0.0;
    // Longer until the time of a submission does not count.
    for _ in 0..8 {
        let seconds =
            fastest(hardware, || peak::multiply_add(&start, rounds).unwrap_or_else(|| start.clone())).await?;
        operations = peak::multiply_add_operations(rounds) / seconds;
        if seconds > 0.02 {
            break;
        }
        rounds *= 4;
    }
    let seconds = fastest(hardware, || peak::copy(&x).unwrap_or_else(|| x.clone())).await?;
    Ok(Some(Peak { operations, bytes: 2.0 * COPY_BYTES as f64 / seconds }))
}

fn result(case: &Case, seconds: f64, peak: Option<&Peak>) -> Value {
    let share = |rate: f64, most: Option<f64>| most.map(|most| rate / most);
    let (operations, bytes) = (case.operations / seconds, case.bytes / seconds);
    json!({
        "kernel": case.kernel,
        "shape": case.shape,
        "weight": case.weight,
        "microseconds": seconds * 1e6,
        "gflops": operations / 1e9,
        "of_peak_gflops": share(operations, peak.map(|peak| peak.operations)),
        "gbps": bytes / 1e9,
        "of_peak_gbps": share(bytes, peak.map(|peak| peak.bytes)),
    })
}

fn print(result: &Value) {
    let text = |key: &str| result[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| result[key].as_f64().unwrap_or_default();
    let percent = |key: &str| match result[key].as_f64() {
        Some(share) => format!("{:.0} %", share * 100.0),
        None => String::new(),
    };
    println!(
        "{:<11} {:<20} {:<6} {:>9.2} ms {:>8.1} {:>8} {:>10.1} {:>8}",
        text("kernel"),
        text("shape"),
        text("weight"),
        number("microseconds") / 1e3,
        number("gflops"),
        percent("of_peak_gflops"),
        number("gbps"),
        percent("of_peak_gbps"),
    );
}

/// Says what the model's weights take and how long they take to the device, and what a guided run at the usual size takes
/// at most with them.
async fn memory(model: &Path, hardware: Rc<Hardware>, as_json: bool) -> Result<()> {
    let source = Box::new(FolderSource::new(model));
    let start = Instant::now();
    let pipeline = Pipeline::load(source, Rc::clone(&hardware), Prefer::Half, |_| ()).await?;
    let seconds = start.elapsed().as_secs_f64();
    let loading = hardware.take_most_gpu_bytes();
    let Memory { texts, steps, decoding } = pipeline.memory().await?;
    if as_json {
        let report = json!({
            "loading_seconds": seconds,
            "loading_bytes": loading,
            "texts_bytes": texts,
            "steps_bytes": steps,
            "decoding_bytes": decoding,
        });
        println!("{report}");
    } else {
        let [loading, texts, steps, decoding] =
            [loading, texts, steps, decoding].map(|bytes| bytes as f64 / 1e6);
        println!(
            "at loading {loading:.0} MB in {seconds:.2} s, at the texts {texts:.0} MB, at the steps {steps:.0} MB, \
             at decoding {decoding:.0} MB"
        );
    }
    Ok(())
}

/// Seconds of a step of the model at its usual request, prepared before.
async fn step(model: &Path, hardware: Rc<Hardware>) -> Result<f64> {
    let source = Box::new(FolderSource::new(model));
    let pipeline = Rc::new(Pipeline::load(source, Rc::clone(&hardware), Prefer::Full, |_| ()).await?);
    let mut request = pipeline.usual_request();
    request.steps = STEPS + 1;
    pipeline.prepare(&request, |_| ()).await?;
    let mut run = Run::start(Rc::clone(&pipeline), request).await?;
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        if run.step().await?.is_none() {
            break;
        }
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(middle(times.split_off(1)))
}

fn report(
    options: &Bench,
    hardware: &Hardware,
    peak: Option<&Peak>,
    kernels: &[Value],
    step: Option<f64>,
) -> Value {
    json!({
        "adapter": hardware.name(),
        "driver": hardware.strategies().key().driver,
        "easel": env!("CARGO_PKG_VERSION"),
        "scale": options.scale,
        "peak_gflops": peak.map(|peak| peak.operations / 1e9),
        "peak_gbps": peak.map(|peak| peak.bytes / 1e9),
        "kernels": kernels,
        "unet_step_ms": step.map(|seconds| seconds * 1e3),
    })
}
