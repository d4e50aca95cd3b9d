import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { bundledModel } from "./tools/vite/bundled_model.mjs";
import { contentSecurityPolicy } from "./tools/vite/content_security_policy.mjs";
import { serviceWorker } from "./tools/vite/service_worker.mjs";

// Origins besides the page's own that `?model=URL` may name, separated by spaces.
const modelHosts = (process.env.EASEL_MODEL_HOSTS ?? "").split(" ").filter(Boolean);

export default defineConfig({
  root: "www",
  base: "./",
  appType: "mpa",
  resolve: { alias: { "easel-wasm": fileURLToPath(new URL("www/pkg/easel.js", import.meta.url)) } },
  define: { __MODEL_HOSTS__: JSON.stringify(modelHosts) },
  plugins: [contentSecurityPolicy(modelHosts), bundledModel("models/starter"), serviceWorker()],
  worker: { format: "es" },
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  preview: { headers: { "X-Content-Type-Options": "nosniff" } },
});
