import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { bundledModel } from "./tools/vite/bundled_model.mjs";
import { clipLicence } from "./tools/vite/clip_licence.mjs";
import { contentSecurityPolicy } from "./tools/vite/content_security_policy.mjs";
import { modelPlaces } from "./tools/vite/model_places.mjs";
import { offlineApp } from "./tools/vite/offline_app.mjs";
import { thirdPartyNotices } from "./tools/vite/third_party_notices.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const places = modelPlaces(process.env);
const embedOrigins = (process.env.EASEL_EMBED_ORIGINS ?? "").split(" ").filter(Boolean);

export default defineConfig({
  root: here("www"),
  base: "./",
  appType: "mpa",
  resolve: { alias: { "easel-wasm": here("www/pkg/easel.js") } },
  define: { __MODEL_PLACES__: JSON.stringify(places), __EMBED_ORIGINS__: JSON.stringify(embedOrigins) },
  plugins: [
    contentSecurityPolicy(places.hosts),
    bundledModel("models/starter"),
    clipLicence(),
    thirdPartyNotices(),
    offlineApp(),
  ],
  worker: { format: "es" },
  build: {
    outDir: here("dist"),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: { index: here("www/index.html"), embed: here("www/embed.html") } },
  },
  preview: { headers: { "X-Content-Type-Options": "nosniff" } },
});
