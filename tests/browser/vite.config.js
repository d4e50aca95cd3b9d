// The page as it is shipped, but with the scripted engine in the place of the wasm module, and its storage by itself.
import { fileURLToPath } from "node:url";
import { defineConfig, mergeConfig } from "vite";
import shipped from "../../vite.config.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export default mergeConfig(
  shipped,
  defineConfig({
    resolve: { alias: { "easel-wasm": here("scripted_engine.ts") } },
    build: {
      outDir: here("../../build/scripted"),
      rolldownOptions: {
        input: { storage_lab: here("storage_lab_page.ts") },
        output: {
          entryFileNames: ({ name }) => (name === "storage_lab" ? "[name].js" : "assets/[name]-[hash].js"),
        },
      },
    },
  }),
);
