//! Where tensors live and kernels run: a GPU through burn-wgpu, or the CPU through burn-flex.

mod adapter;
mod tuning;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor};
use burn_wgpu::wgpu::Features;
use burn_wgpu::{CubeBackend, WgpuSetup};

use crate::error::{Error, Result};
use crate::kernel::memory;
use crate::kernel::rehearsal::Pipeline;
use crate::kernel::self_test;
use crate::kernel::strategy::Adapter;
use crate::kernel::tune::Table;

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The GPU, software ones included.
    Gpu,
    /// The CPU.
    Cpu,
    /// The GPU if there is a real one, else the CPU: a software GPU is slower than no GPU.
    #[default]
    Auto,
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "gpu" => Ok(Self::Gpu),
            "cpu" => Ok(Self::Cpu),
            "auto" => Ok(Self::Auto),
            other => Err(Error::Parameter {
                name: "device".into(),
                reason: format!("must be gpu, cpu or auto, not {other:?}"),
            }),
        }
    }
}

/// The first error that the GPU reported outside of any call. Cleared by being taken.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Option<String>>>);

impl Faults {
    /// Keeps `reason` unless an earlier one is still there: later errors follow from the first.
    pub fn report(&self, reason: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An opened device.
pub struct Hardware {
    device: Device,
    gpu: Option<Gpu>,
    faults: Faults,
    strategies: RefCell<Option<Table>>,
    compiled: RefCell<HashSet<Pipeline>>,
    low_memory: Cell<bool>,
}

struct Gpu {
    setup: WgpuSetup,
    name: String,
}

impl Hardware {
    /// The CPU, which is always there.
    #[must_use]
    pub fn cpu() -> Self {
        Self::new(Device::flex(), None, Faults::default())
    }

    fn new(device: Device, gpu: Option<Gpu>, faults: Faults) -> Self {
        Self {
            device,
            gpu,
            faults,
            strategies: RefCell::default(),
            compiled: RefCell::default(),
            low_memory: Cell::default(),
        }
    }

    /// Opens the device of `choice`. `faults` collects what goes wrong outside of calls. A process opens the GPU once.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when a GPU is asked for and none can be opened, or it was opened before.
    pub async fn open(choice: Choice, faults: Faults) -> Result<Self> {
        if choice == Choice::Cpu {
            return Ok(Self::cpu());
        }
        match Self::open_gpu(faults).await {
            Ok(hardware) if choice == Choice::Auto && hardware.is_software() => Ok(Self::cpu()),
            Err(_) if choice == Choice::Auto => Ok(Self::cpu()),
            opened => opened,
        }
    }

    async fn open_gpu(faults: Faults) -> Result<Self> {
        let opened = Device::wgpu_options().init_with_setup_async().await;
        let (device, setup) = opened.map_err(|error| Error::NoAdapter { reason: error.to_string() })?;
        let reports = faults.clone();
        setup.device.on_uncaptured_error(Arc::new(move |error| reports.report(error.to_string())));
        adapter::of(&setup).make_current();
        let name = setup.adapter.get_info().name;
        let name = if name.is_empty() { "WebGPU".to_owned() } else { name };
        Ok(Self::new(device, Some(Gpu { setup, name }), faults))
    }

    /// Takes the GPU for software that imitates one, for callers that know better than wgpu.
    pub fn assume_software(&self) {
        Adapter { software: true, ..Adapter::current() }.make_current();
    }

    /// Takes the GPU's smallest subgroups for ones of `size` invocations, which its device lets shaders use; 0 for none.
    pub fn assume_subgroups(&self, size: u32) {
        Adapter { subgroup: size, ..Adapter::current() }.make_current();
    }

    /// Keeps a UNet's activations in f16 from now on, and lets their products be computed in f16, with sums in f32, where
    /// that is faster: pictures differ slightly. What [`Self::adopt_strategies`] took over is forgotten. To be called before
    /// a run begins.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a device without f16.
    pub fn allow_f16(&self) -> Result<()> {
        self.check_f16()?;
        Adapter { f16: true, ..Adapter::current() }.make_current();
        self.adopt_strategies("");
        Ok(())
    }

    /// Whether [`Self::allow_f16`] would succeed.
    ///
    /// # Errors
    /// Those of it.
    pub fn check_f16(&self) -> Result<()> {
        let features = self.setup().map(|setup| setup.device.features());
        if features.is_some_and(|features| features.contains(Features::SHADER_F16)) {
            return Ok(());
        }
        let reason = format!("cannot be f16: {} has no `shader-f16`", self.name());
        Err(Error::Parameter { name: "precision".into(), reason })
    }

    fn is_software(&self) -> bool {
        self.setup().is_some_and(adapter::is_software)
    }

    /// burn's handle.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The handles that a presenter of pictures shares, `None` on the CPU.
    #[must_use]
    pub fn setup(&self) -> Option<&WgpuSetup> {
        self.gpu.as_ref().map(|gpu| &gpu.setup)
    }

    /// Name of the adapter, or `CPU`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.gpu.as_ref().map_or("CPU", |gpu| &gpu.name)
    }

    /// Bytes that burn holds on the GPU now, pages kept for reuse included; 0 on the CPU.
    #[must_use]
    pub fn gpu_bytes(&self) -> u64 {
        memory::held_bytes(&self.device)
    }

    /// Gives back the GPU memory that burn keeps for reuse and that no tensor is in.
    pub fn free_unused(&self) {
        memory::free_unused(&self.device);
    }

    /// The most of [`Self::gpu_bytes`] since the last call, as far as was looked: whenever memory is given back, and now.
    #[must_use]
    pub fn take_most_gpu_bytes(&self) -> u64 {
        memory::take_most_bytes(&self.device)
    }

    /// With true, the parts of a model follow each other on the device: text encoder, UNet and VAE are read when a stage
    /// needs them, and given back before the next. A run that exhausts the memory begins so by itself.
    pub fn set_low_memory(&self, low: bool) {
        self.low_memory.set(low);
    }

    /// Whether parts follow each other.
    #[must_use]
    pub fn low_memory(&self) -> bool {
        self.low_memory.get()
    }

    /// Waits until `tensor` is computed.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] when the work behind it, or anything else on the device, failed.
    pub async fn settle<const D: usize>(&self, tensor: &Tensor<D>) -> Result<()> {
        if let Ok(tensor) = tensor.clone().try_into_primitive::<CubeBackend>() {
            let barrier = tensor.client.sync_buffers([&tensor.handle]);
            barrier.await.map_err(|error| failed(&error.to_string(), error.is_device_poisoned()))?;
        }
        self.check()
    }

    /// Computes and reads a tensor, in row-major order.
    ///
    /// # Errors
    /// Those of [`Self::settle`].
    pub async fn read<const D: usize>(&self, tensor: Tensor<D>) -> Result<Vec<f32>> {
        let data = tensor.into_data_async().await.map_err(|error| failed(&error.to_string(), false))?;
        self.check()?;
        data.try_into_vec().map_err(|error| failed(&format!("{error:?}"), false))
    }

    /// Computes every operation in odd shapes here and on the CPU: the differences beyond rounding, in words. None is
    /// good: the driver computes what it should.
    ///
    /// # Errors
    /// Those of [`Self::settle`].
    pub async fn self_test(&self) -> Result<Vec<String>> {
        let cpu = Self::cpu();
        let mut differences = Vec::new();
        for case in self_test::cases() {
            let expected = cpu.read(case.expected()).await?;
            let found = self.read(case.found(&self.device, expected.len())).await?;
            differences.extend(case.difference(&found, &expected));
        }
        Ok(differences)
    }

    /// Forgets what was reported and not asked for: errors of earlier work are not those of the next.
    pub fn forget_faults(&self) {
        self.faults.take();
    }

    fn check(&self) -> Result<()> {
        self.faults.take().map_or(Ok(()), |reason| Err(failed(&reason, false)))
    }
}

fn failed(reason: &str, lost: bool) -> Error {
    let reason = reason.to_owned();
    let lower = reason.to_ascii_lowercase();
    if lower.contains("out of memory") || lower.contains("buffertoobig") {
        Error::OutOfMemory { reason }
    } else if lost
        || lower.contains("device lost")
        || lower.contains("device was lost")
        || lower.contains("poisoned")
    {
        Error::DeviceLost { reason }
    } else {
        Error::Gpu { reason }
    }
}
