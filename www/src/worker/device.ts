import type { Device, DeviceChoice } from "../shared/protocol.ts";

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software|basic render/i;
const BROWSERS = "Chrome and Edge from 113, Safari from 26 and recent Firefox have WebGPU";

/** The device to run on, the GPU's name, and the reason when the CPU is taken for want of a GPU. */
export interface DeviceDecision {
  device: Device;
  adapter?: string;
  /** The GPU is software that imitates one. */
  software?: boolean;
  /** Invocations of its smallest subgroups; absent where it has none. */
  subgroup?: number;
  reason?: string;
}

/**
 * Takes the GPU unless there is none, or only software that imitates one: the CPU itself is faster than that. Adapters have
 * to be mended before.
 */
export async function decideDevice(choice: DeviceChoice): Promise<DeviceDecision> {
  if (choice === "cpu") return { device: "cpu" };
  const adapter = await firstAdapter();
  const name = adapter ? adapterName(adapter.info) : "";
  const software = adapter?.info.isFallbackAdapter === true || SOFTWARE.test(name);
  const gpu: DeviceDecision = { device: "gpu", software, ...(name !== "" && { adapter: name }) };
  if (adapter?.features.has("subgroups")) gpu.subgroup = adapter.info.subgroupMinSize;
  if (choice === "gpu") return gpu;
  if (!("gpu" in navigator)) return { device: "cpu", reason: `this browser has no WebGPU (${BROWSERS})` };
  if (!adapter) return { device: "cpu", reason: `WebGPU found no graphics adapter here (${BROWSERS})` };
  if (!software) return gpu;
  return {
    device: "cpu",
    reason: `the only WebGPU adapter here is software (${BROWSERS}, on a machine with a GPU)`,
  };
}

/** Largest memory of a device, in GiB, beside which a model may be large, and the part of it that such a model has. */
const [SMALL_DEVICE, LARGE_MODEL] = [4, 1 / 8];

/** Whether a model of `bytes` is large for this device, as far as the browser tells. */
export function isLargeHere(bytes: number): boolean {
  const gibibytes = (navigator as { deviceMemory?: number }).deviceMemory;
  return gibibytes !== undefined && gibibytes <= SMALL_DEVICE && bytes > gibibytes * 2 ** 30 * LARGE_MODEL;
}

async function firstAdapter(): Promise<GPUAdapter | null | undefined> {
  // Absent outside secure contexts and in browsers without WebGPU, whatever the types say.
  const gpu = navigator.gpu as GPU | undefined;
  return gpu?.requestAdapter().catch(() => null);
}

/** "nvidia ampere", as much as the browser tells. */
function adapterName({ vendor, architecture, device, description }: GPUAdapterInfo): string {
  return description || [vendor, architecture, device].filter(Boolean).join(" ");
}
