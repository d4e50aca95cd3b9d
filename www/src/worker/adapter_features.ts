// What the engine's libraries ask of adapters, set right: cubecl panics in a browser whose adapter lacks
// `timestamp-query`, although nothing here asks it for times, wgpu has no name for a browser's subgroups, and it reads
// `info`, which Chrome has from 127 on.

const FEIGNED = "timestamp-query";
const WANTED = "subgroups";
const UNKNOWN = { vendor: "", architecture: "", device: "", description: "unknown adapter" };

/**
 * From now on every adapter seems to have timestamps, and a device gets them, and subgroups, where they really are. Every
 * adapter has `info`.
 */
export function mendAdapters(): void {
  // Absent where there is no WebGPU.
  const adapter = globalThis.GPUAdapter?.prototype;
  const features = adapter && Object.getOwnPropertyDescriptor(adapter, "features")?.get;
  if (!features) return;
  if (!("info" in adapter)) Object.defineProperty(adapter, "info", { get: unknownInfo });
  const { requestDevice } = adapter;
  const real = (of: GPUAdapter): ReadonlySet<string> => features.call(of);
  Object.defineProperty(adapter, "features", {
    get(this: GPUAdapter) {
      return new Set([...real(this), FEIGNED]);
    },
  });
  adapter.requestDevice = function (descriptor) {
    const there = real(this);
    const asked = [...(descriptor?.requiredFeatures ?? [])].filter(
      (name) => name !== FEIGNED || there.has(name),
    );
    const requiredFeatures = there.has(WANTED) ? [...new Set([...asked, WANTED as GPUFeatureName])] : asked;
    return requestDevice.call(this, { ...descriptor, requiredFeatures });
  };
}

/** Where adapters have no `info`, they themselves say whether they are software. */
function unknownInfo(this: { isFallbackAdapter?: boolean }): object {
  return { ...UNKNOWN, isFallbackAdapter: this.isFallbackAdapter === true };
}
