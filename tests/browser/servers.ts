// Serves both sites while the tests run: the shipped one in dist/, and the one with the scripted engine.
import { fileURLToPath } from "node:url";
import { build, type PreviewServer, preview } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

async function serve(configFile: string): Promise<PreviewServer> {
  return preview({ configFile, preview: { port: 0 }, logLevel: "warn" });
}

function address(server: PreviewServer): string {
  const url = server.resolvedUrls?.local[0];
  if (!url) throw new Error("the preview server has no address");
  return url;
}

export default async function servers(): Promise<() => Promise<void>> {
  // Hosts of models in tests have ports that are not known yet.
  process.env.EASEL_MODEL_HOSTS = "http://localhost:*";
  await build({ configFile: here("vite.config.js"), logLevel: "warn" });
  const scripted = await serve(here("vite.config.js"));
  const shipped = await serve(here("../../vite.config.js"));
  process.env.EASEL_SCRIPTED_URL = address(scripted);
  process.env.EASEL_SHIPPED_URL = address(shipped);
  return async () => {
    await Promise.all([scripted.close(), shipped.close()]);
  };
}
