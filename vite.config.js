import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { bundledModel } from "./tools/vite/bundled_model.mjs";
import { clipLicence } from "./tools/vite/clip_licence.mjs";
import { contentSecurityPolicy } from "./tools/vite/content_security_policy.mjs";
import { modelPlaces } from "./tools/vite/model_places.mjs";
import { serviceWorker } from "./tools/vite/service_worker.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const places = modelPlaces(process.env);

export default defineConfig({
  root: here("www"),
  base: "./",
  appType: "mpa",
  resolve: { alias: { "easel-wasm": here("www/pkg/easel.js") } },
  define: { __MODEL_PLACES__: JSON.stringify(places) },
  plugins: [
    contentSecurityPolicy(places.hosts),
    bundledModel("models/starter"),
    clipLicence(),
    serviceWorker(),
  ],
  worker: { format: "es" },
  build: {
    outDir: here("dist"),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  preview: { headers: { "X-Content-Type-Options": "nosniff" } },
});
