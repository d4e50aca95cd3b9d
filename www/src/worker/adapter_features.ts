// cubecl panics in a browser whose adapter lacks `timestamp-query`, although nothing here asks it for times.

const NAME = "timestamp-query";

/** From now on every adapter seems to have the feature; a device is asked for with what there really is. */
export function feignTimestampQuery(): void {
  // Absent where there is no WebGPU.
  const adapter = globalThis.GPUAdapter?.prototype;
  const features = adapter && Object.getOwnPropertyDescriptor(adapter, "features")?.get;
  if (!features) return;
  const { requestDevice } = adapter;
  const real = (of: GPUAdapter): ReadonlySet<string> => features.call(of);
  Object.defineProperty(adapter, "features", {
    get(this: GPUAdapter) {
      return new Set([...real(this), NAME]);
    },
  });
  adapter.requestDevice = function (descriptor) {
    const asked = [...(descriptor?.requiredFeatures ?? [])];
    const requiredFeatures = asked.filter((name) => name !== NAME || real(this).has(NAME));
    return requestDevice.call(this, { ...descriptor, requiredFeatures });
  };
}
