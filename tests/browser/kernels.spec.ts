// Every kernel against its CPU twin, on the browser's own GPU interface.
import { fileURLToPath } from "node:url";
import { expect, site, test } from "./easel_page.ts";

const BINDINGS = fileURLToPath(new URL("../../www/pkg", import.meta.url));

test("every kernel agrees with its CPU twin", async ({ page }) => {
  test.setTimeout(600_000);
  await page.route("**/pkg/*", (route) => {
    const name = new URL(route.request().url()).pathname.split("/").at(-1);
    return route.fulfill({ path: `${BINDINGS}/${name}` });
  });
  await page.goto(site("scripted", "icon.svg"));
  const { differences, device, f16, hasF16 } = await page.evaluate(
    async (address) => {
      const { default: init, Engine } = await import(address);
      await init();
      const adapter = GPUAdapter.prototype;
      const { requestDevice } = adapter;
      adapter.requestDevice = function (descriptor) {
        const requiredFeatures = [...(descriptor?.requiredFeatures ?? []), "subgroups" as GPUFeatureName];
        return requestDevice.call(this, { ...descriptor, requiredFeatures });
      };
      const hasF16 = (await navigator.gpu.requestAdapter())?.features.has("shader-f16");
      // SwiftShader's subgroups are of four invocations. It has no f16, which is asked for all the same.
      const engine = await Engine.create("gpu", true, 4, true);
      const differences: string[] = await engine.selfTest();
      return { differences, device: engine.device, f16: engine.f16, hasF16 };
    },
    site("scripted", "pkg/easel.js"),
  );
  expect(differences).toEqual([]);
  expect({ device, f16 }).toEqual({ device: "gpu", f16: hasF16 });
});
