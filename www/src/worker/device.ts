import type { Device, DeviceChoice } from "../shared/protocol.ts";

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software|basic render/i;
const BROWSERS = "Chrome and Edge from 113, Safari from 26 and recent Firefox have WebGPU";

/** The device to run on, and the reason when the CPU is taken for want of a GPU. */
export interface DeviceDecision {
  device: Device;
  reason?: string;
}

/** Takes the GPU unless there is none, or only software that imitates one: the CPU itself is faster than that. */
export async function decideDevice(choice: DeviceChoice): Promise<DeviceDecision> {
  if (choice !== "auto") return { device: choice };
  const missing = await missingGpu();
  return missing === undefined ? { device: "gpu" } : { device: "cpu", reason: missing };
}

async function missingGpu(): Promise<string | undefined> {
  // Absent outside secure contexts and in browsers without WebGPU, whatever the types say.
  const gpu = navigator.gpu as GPU | undefined;
  if (!gpu) return `this browser has no WebGPU (${BROWSERS})`;
  const adapter = await gpu.requestAdapter().catch(() => null);
  if (!adapter) return `WebGPU found no graphics adapter here (${BROWSERS})`;
  const { isFallbackAdapter, vendor, architecture, device, description } = adapter.info;
  const name = [vendor, architecture, device, description].join(" ");
  if (!isFallbackAdapter && !SOFTWARE.test(name)) return undefined;
  return `the only WebGPU adapter here is software (${BROWSERS}, on a machine with a GPU)`;
}
