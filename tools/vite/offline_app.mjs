// Makes an installable app of the page: the web app manifest, and the service worker of www/src/sw with the list of the
// files that make up the page.
import { VitePWA } from "vite-plugin-pwa";

const LARGEST_FILE = 16 << 20;

const MANIFEST = {
  name: "Easel",
  short_name: "Easel",
  description: "Pictures from words, drawn on this device.",
  // Without an `id` the app is known by `start_url`, which differs between sites in folders of one origin; an `id` is
  // resolved against the origin alone.
  start_url: "./",
  scope: "./",
  display: "standalone",
  background_color: "#f6f3ec",
  theme_color: "#b8431a",
  categories: ["graphics", "photo"],
  icons: [
    { src: "./icon-192.png", sizes: "192x192", type: "image/png" },
    { src: "./icon-512.png", sizes: "512x512", type: "image/png" },
    { src: "./icon-maskable.png", sizes: "512x512", type: "image/png", purpose: "maskable" },
    { src: "./icon.svg", sizes: "any", type: "image/svg+xml" },
  ],
  share_target: {
    action: "./share-picture",
    method: "POST",
    enctype: "multipart/form-data",
    params: { files: [{ name: "picture", accept: ["image/*"] }] },
  },
};

/** Vite plugins. Model files are not the app's: its worker keeps them. */
export function offlineApp() {
  return VitePWA({
    strategies: "injectManifest",
    srcDir: "src/sw",
    filename: "sw.ts",
    registerType: "prompt",
    // The page registers it, and offers new versions.
    injectRegister: null,
    manifest: MANIFEST,
    injectManifest: {
      globPatterns: ["**/*.{html,js,css,wasm,svg,png,webmanifest}", "assets/merges*.txt"],
      globIgnores: ["models/**"],
      maximumFileSizeToCacheInBytes: LARGEST_FILE,
    },
  });
}
