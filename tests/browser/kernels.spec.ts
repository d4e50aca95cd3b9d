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
  const differences = await page.evaluate(
    async (address) => {
      const { default: init, Engine } = await import(address);
      await init();
      const adapter = GPUAdapter.prototype;
      const { requestDevice } = adapter;
      adapter.requestDevice = function (descriptor) {
        const requiredFeatures = [...(descriptor?.requiredFeatures ?? []), "subgroups" as GPUFeatureName];
        return requestDevice.call(this, { ...descriptor, requiredFeatures });
      };
      // SwiftShader's subgroups are of four invocations.
      const engine = await Engine.create("gpu", true, 4);
      return engine.selfTest() as Promise<string[]>;
    },
    site("scripted", "pkg/easel.js"),
  );
  expect(differences).toEqual([]);
});
