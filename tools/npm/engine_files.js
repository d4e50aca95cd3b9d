// Written so that bundlers see two files to take along. Each is complete in itself.
export const workerUrl = new URL("./worker.js", import.meta.url);
export const wasmUrl = new URL("./easel_bg.wasm", import.meta.url);
