//! Pictures to an `OffscreenCanvas`: drawn from GPU memory, or put as pixels where the engine runs on the CPU.

use burn::tensor::Tensor;
use burn_wgpu::wgpu::{
    self, BindGroup, Buffer, BufferUsages, Color, LoadOp, Operations, RenderPassColorAttachment,
    RenderPipeline, StoreOp, Surface, SurfaceConfiguration, TextureUsages,
};
use burn_wgpu::{AutoCompiler, CubeBackend, WgpuSetup};
use cubecl::wgpu::WgpuServer;
use wasm_bindgen::{Clamped, JsCast as _};
use web_sys::{ImageData, OffscreenCanvas, OffscreenCanvasRenderingContext2d};

use crate::error::{Error, Result};
use crate::hardware::Hardware;

const SHADER: &str = include_str!("../../../shaders/present.wgsl");

/// A canvas that the page handed over.
pub(super) struct Canvas {
    element: OffscreenCanvas,
    target: Target,
}

enum Target {
    Gpu(Box<GpuTarget>),
    Pixels(OffscreenCanvasRenderingContext2d),
}

struct GpuTarget {
    setup: WgpuSetup,
    surface: Surface<'static>,
    config: SurfaceConfiguration,
    pipeline: RenderPipeline,
    info: Buffer,
}

/// Size of a picture or a canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Canvas {
    pub(super) fn attach(element: OffscreenCanvas, hardware: &Hardware) -> Result<Self> {
        let target = match hardware.setup() {
            Some(setup) => Target::Gpu(Box::new(GpuTarget::new(element.clone(), setup)?)),
            None => Target::Pixels(pixel_context(&element)?),
        };
        Ok(Self { element, target })
    }

    /// Fills the canvas, resized to `canvas`, with the picture `[1, size, 3]` in 0..1.
    pub(super) async fn draw(
        &mut self,
        picture: &Tensor<3>,
        size: Size,
        canvas: Size,
        hardware: &Hardware,
    ) -> Result<()> {
        let resized =
            (self.element.width(), self.element.height()) != (canvas.width as u32, canvas.height as u32);
        if resized {
            self.element.set_width(canvas.width as u32);
            self.element.set_height(canvas.height as u32);
        }
        match &mut self.target {
            Target::Gpu(target) => target.draw(picture, size, canvas, resized),
            Target::Pixels(context) => {
                let rgb = hardware.read(picture.clone()).await?;
                put_pixels(context, &enlarge(&rgb, size, canvas), canvas)
            }
        }
    }
}

impl GpuTarget {
    fn new(element: OffscreenCanvas, setup: &WgpuSetup) -> Result<Self> {
        let surface = setup.instance.create_surface(wgpu::SurfaceTarget::OffscreenCanvas(element));
        let surface = surface.map_err(|error| failed(&error.to_string()))?;
        let capabilities = surface.get_capabilities(&setup.adapter);
        let linear = capabilities.formats.iter().copied().find(|format| !format.is_srgb());
        let format = linear.ok_or_else(|| failed("the canvas offers no format"))?;
        let config = SurfaceConfiguration {
            usage: TextureUsages::RENDER_ATTACHMENT,
            format,
            width: 1,
            height: 1,
            present_mode: wgpu::PresentMode::AutoVsync,
            desired_maximum_frame_latency: 2,
            alpha_mode: wgpu::CompositeAlphaMode::Auto,
            view_formats: Vec::new(),
            color_space: wgpu::SurfaceColorSpace::default(),
        };
        let info = setup.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("present info"),
            size: 16,
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let pipeline = pipeline(setup, format);
        Ok(Self { setup: setup.clone(), surface, config, pipeline, info })
    }

    fn draw(&mut self, picture: &Tensor<3>, size: Size, canvas: Size, resized: bool) -> Result<()> {
        let device = &self.setup.device;
        if resized || self.config.width != canvas.width as u32 || self.config.height != canvas.height as u32 {
            (self.config.width, self.config.height) = (canvas.width as u32, canvas.height as u32);
            self.surface.configure(device, &self.config);
        }
        let tensor = picture.clone().try_into_primitive::<CubeBackend>();
        let tensor = tensor.map_err(|_| failed("the picture is not on the GPU"))?;
        // Submits what burn has pending, so that the picture is complete before the draw that follows it.
        let resource = tensor.client.get_resource::<WgpuServer<AutoCompiler>>(tensor.handle.clone());
        let resource = resource.map_err(|error| failed(&error.to_string()))?;
        let group = self.bind(resource.resource());
        let info = [size.width, size.height, canvas.width, canvas.height].map(|value| value as u32);
        let info: Vec<u8> = info.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.setup.queue.write_buffer(&self.info, 0, &info);
        let frame = match self.surface.get_current_texture() {
            wgpu::CurrentSurfaceTexture::Success(frame) | wgpu::CurrentSurfaceTexture::Suboptimal(frame) => {
                frame
            }
            other => return Err(failed(&format!("the canvas gave no frame: {other:?}"))),
        };
        let view = frame.texture.create_view(&wgpu::TextureViewDescriptor::default());
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: Some("present"),
                color_attachments: &[Some(RenderPassColorAttachment {
                    view: &view,
                    depth_slice: None,
                    resolve_target: None,
                    ops: Operations { load: LoadOp::Clear(Color::BLACK), store: StoreOp::Store },
                })],
                ..wgpu::RenderPassDescriptor::default()
            });
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.draw(0..3, 0..1);
        }
        self.setup.queue.submit([encoder.finish()]);
        self.setup.queue.present(frame);
        Ok(())
    }

    fn bind(&self, picture: &burn_wgpu::WgpuResource) -> BindGroup {
        self.setup.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("present"),
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry {
                    binding: 0,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &picture.buffer,
                        offset: picture.offset,
                        size: std::num::NonZeroU64::new(picture.size),
                    }),
                },
                wgpu::BindGroupEntry { binding: 1, resource: self.info.as_entire_binding() },
            ],
        })
    }
}

fn pipeline(setup: &WgpuSetup, format: wgpu::TextureFormat) -> RenderPipeline {
    let module = setup.device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("present"),
        source: wgpu::ShaderSource::Wgsl(SHADER.into()),
    });
    setup.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: Some("present"),
        layout: None,
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some("vertex"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            buffers: &[],
        },
        primitive: wgpu::PrimitiveState::default(),
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: Some("fragment"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            targets: &[Some(format.into())],
        }),
        multiview_mask: None,
        cache: None,
    })
}

fn pixel_context(element: &OffscreenCanvas) -> Result<OffscreenCanvasRenderingContext2d> {
    let context = element.get_context("2d").ok().flatten();
    let context = context.and_then(|context| context.dyn_into().ok());
    context.ok_or_else(|| failed("the canvas gave no 2d context"))
}

fn put_pixels(context: &OffscreenCanvasRenderingContext2d, rgba: &[u8], size: Size) -> Result<()> {
    let image =
        ImageData::new_with_u8_clamped_array_and_sh(Clamped(rgba), size.width as u32, size.height as u32);
    let put = image.and_then(|image| context.put_image_data(&image, 0.0, 0.0));
    put.map_err(|thrown| failed(&format!("{thrown:?}")))
}

/// `[size, 3]` in 0..1 to 8-bit RGBA of `canvas`, interpolated as `present.wgsl` does it.
pub(super) fn enlarge(rgb: &[f32], size: Size, canvas: Size) -> Vec<u8> {
    let mut rgba = Vec::with_capacity(canvas.width * canvas.height * 4);
    let eight_bit = |value: f32| (value * 255.0).round() as u8;
    if size == canvas {
        rgb.chunks_exact(3).for_each(|pixel| rgba.extend(pixel.iter().map(|c| eight_bit(*c)).chain([255])));
        return rgba;
    }
    let place = |at: usize, from: usize, to: usize| {
        let at = (at as f32 + 0.5) * from as f32 / to as f32 - 0.5;
        let low = at.max(0.0) as usize;
        (low, (low + 1).min(from - 1), (at - low as f32).clamp(0.0, 1.0))
    };
    for y in 0..canvas.height {
        let (top, bottom, down) = place(y, size.height, canvas.height);
        for x in 0..canvas.width {
            let (left, right, across) = place(x, size.width, canvas.width);
            for c in 0..3 {
                let value = |row: usize, column: usize| rgb[(row * size.width + column) * 3 + c];
                let upper = value(top, left) + (value(top, right) - value(top, left)) * across;
                let lower = value(bottom, left) + (value(bottom, right) - value(bottom, left)) * across;
                rgba.push(eight_bit(upper + (lower - upper) * down));
            }
            rgba.push(255);
        }
    }
    rgba
}

fn failed(reason: &str) -> Error {
    Error::Gpu { reason: format!("drawing to the canvas failed: {reason}") }
}
