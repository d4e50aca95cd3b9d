// The benchmark's page, with onnxruntime-web and the exported UNets beside it.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { benchFiles } from "./bench_files.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here("page"),
  base: "./",
  appType: "mpa",
  resolve: { alias: { "easel-wasm": here("../../www/pkg/easel.js") } },
  plugins: [benchFiles()],
  // Isolated from other origins, where a wasm module may have threads.
  preview: {
    headers: {
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    },
  },
  worker: { format: "es" },
  build: {
    outDir: here("../../build/bench"),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
